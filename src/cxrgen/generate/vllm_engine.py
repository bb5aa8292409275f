"""The same reports by vLLM, which packs many more of them onto a GPU; `pip install "cxrgen[vllm]"`, needs a GPU.

vLLM gets the very prompt that the checkpoint was trained with, as token ids with one image token a film, which it
widens itself; films come to it after the checkpoint's aspect rule. Its kernels round otherwise than transformers' do,
so now and then a report differs from the one that the other engine writes. Towers that vLLM does not know, such as the
small one of this package, need the other engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, GenerationConfig

from cxrgen.errors import InputError
from cxrgen.generate.choose import ending, report_text, study_seed
from cxrgen.generate.decode import Failed
from cxrgen.generate.settings import Settings
from cxrgen.model.conversation import Format, encode_prompt
from cxrgen.model.llama_fast import checked_tokenizer
from cxrgen.model.pixels import open_film
from cxrgen.records import Conversation, Prediction

_AT_A_TIME = 512  # studies handed over together; an interruption loses at most these


class VllmEngine:
    """A checkpoint in vLLM, on this process's GPU."""

    def __init__(self, settings: Settings, most_films: int) -> None:
        _take_one_gpu()
        try:
            import vllm
        except ImportError:
            raise InputError('--engine vllm: vLLM is not installed; pip install "cxrgen[vllm]"') from None
        if (settings.model / "adapter_config.json").is_file():
            # Its projector is trained along, which vLLM's own adapters cannot carry; merged weights are ordinary ones.
            raise InputError(f"{settings.model}: an adapter; vLLM opens it merged: train with --merge_adapter True")
        self.vllm, self.settings = vllm, settings
        tokenizer = AutoProcessor.from_pretrained(settings.model, local_files_only=True).tokenizer
        if settings.format.template != "plain":
            tokenizer, _ = checked_tokenizer(settings.model, tokenizer, settings.format)
        self.tokenizer = tokenizer
        generation = GenerationConfig.from_pretrained(settings.model, local_files_only=True)
        self.ending = ending(self.tokenizer, generation, settings.format.template)
        try:
            self.model = vllm.LLM(
                model=str(settings.model),
                dtype=settings.dtype,
                max_num_seqs=settings.batch_size,
                limit_mm_per_prompt={"image": most_films},
                enable_prefix_caching=True,  # what prompts have in common is computed once
            )
        except (RuntimeError, ValueError, NotImplementedError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{settings.model}: vLLM cannot open it: {first_line}; try --engine transformers"
            ) from None

    def write(
        self, conversations: Sequence[Conversation], folder: Path, failed: Failed
    ) -> Iterator[tuple[int, Prediction]]:
        for start in range(0, len(conversations), _AT_A_TIME):
            asked = []
            for number in range(start, min(start + _AT_A_TIME, len(conversations))):
                try:
                    asked.append((number, self._prompt(conversations[number], folder)))
                except InputError as error:
                    failed(number, str(error))
            prompts = [prompt for _, prompt in asked]
            how = [self._sampling(conversations[number].id) for number, _ in asked]
            for (number, _), result in zip(asked, self.model.generate(prompts, how, use_tqdm=False)):
                text = report_text(list(result.outputs[0].token_ids), self.ending)
                yield number, Prediction(conversations[number].id, text)

    def _prompt(self, conversation: Conversation, folder: Path) -> dict[str, Any]:
        format = self.settings.format
        ids = encode_prompt(conversation.turns[:1], self.tokenizer, _one_token_a_film(format))
        films = [open_film(folder / name, format.aspect) for name in conversation.images]
        return {"prompt_token_ids": ids, "multi_modal_data": {"image": films}} if films else {"prompt_token_ids": ids}

    def _sampling(self, study: str) -> Any:
        settings = self.settings
        return self.vllm.SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=study_seed(settings.seed, study) >> 1,  # vLLM's seeds are signed
            max_tokens=settings.max_new_tokens,
            stop=[self.ending.text] if self.ending.text else None,
            stop_token_ids=sorted(self.ending.tokens),
        )


def _one_token_a_film(format: Format) -> Format:
    return replace(format, image_tokens=1)


def _take_one_gpu() -> None:
    """Of the GPUs that are visible, the one of this process; it must be said before CUDA starts."""
    rank, together = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if together > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(together)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[rank % len(visible)]
