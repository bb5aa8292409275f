"""Conversations to reports: batches padded on the left, greedy, each row stopping by itself.

Greedy decoding depends on nothing but the row, so a batch of any size writes what one-by-one would write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cxrgen.model.batches import Sample, collate
from cxrgen.model.bundle import Bundle
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.features import in_slices
from cxrgen.model.pixels import film_pixels
from cxrgen.records import Conversation, Prediction


@torch.inference_mode()
def write_reports(
    bundle: Bundle, conversations: Sequence[Conversation], folder: Path, batch_size: int, max_new_tokens: int
) -> Iterator[list[Prediction]]:
    """Yield the reports of one batch after another, in the order of `conversations`.

    Only the human turns are read. Image paths are relative to `folder`; InputError names one that cannot be read.
    """
    model, tokenizer = bundle.model.eval(), bundle.tokenizer
    image_processor, aspect = bundle.processor.image_processor, bundle.format.aspect
    for some in in_slices(conversations, batch_size):
        samples = [
            Sample(each.id, tuple(encode_prompt(each.turns[:1], tokenizer, bundle.format)), (), each.images)
            for each in some
        ]
        batch = collate(
            samples,
            tokenizer.pad_token_id,
            lambda path: film_pixels([folder / path], image_processor, aspect)[0],
            left=True,
        )
        inputs = {name: value.to(model.device) for name, value in batch.items() if name not in ("labels", "ids")}
        written = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        answers = tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        yield [Prediction(each.id, answer.strip()) for each, answer in zip(some, answers)]
