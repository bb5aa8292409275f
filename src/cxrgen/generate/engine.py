"""What turns conversations into reports in one process: the checkpoint on its device, and the memory there is."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cxrgen.generate.choose import Choose, greedy, sampling
from cxrgen.generate.decode import Failed, write_reports
from cxrgen.generate.drafts import Drafts
from cxrgen.generate.settings import Settings
from cxrgen.model.bundle import Bundle, load_bundle
from cxrgen.progress import say
from cxrgen.records import Conversation, Prediction

# Conversations, the folder of their films, and who is told of studies that fail: to (number, report) as they come.
Engine = Callable[[Sequence[Conversation], Path, Failed], Iterator[tuple[int, Prediction]]]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_engine(settings: Settings) -> Engine:
    """Load the checkpoint. Raises InputError when it or a needed package is missing."""
    bundle = open_bundle(settings)
    choose = chooser(settings)
    drafts = None
    if settings.drafts:
        ends = [bundle.tokenizer.eos_token_id] if bundle.format.template == "plain" else []
        drafts = Drafts(
            [*bundle.tokenizer(text, add_special_tokens=False)["input_ids"], *ends] for text in settings.drafts
        )

    def write(conversations: Sequence[Conversation], folder: Path, failed: Failed) -> Iterator[tuple[int, Prediction]]:
        return _with_the_memory_there_is(bundle, settings, choose, drafts, conversations, folder, failed)

    return write


def chooser(settings: Settings) -> Choose:
    if settings.temperature == 0.0:
        return greedy
    return sampling(settings.temperature, settings.top_p, settings.seed)


def open_bundle(settings: Settings) -> Bundle:
    """The checkpoint on its device, with the settings' format in place of its own."""
    rank, together = (
        int(os.environ.get(name, default)) for name, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    if torch.cuda.is_available():
        device = f"cuda:{rank % torch.cuda.device_count()}"
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    else:
        device, dtype = "cpu", torch.float32
        if together > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // together))
    dtype = _DTYPES.get(settings.dtype, dtype)
    bundle = load_bundle(settings.model, dtype)
    bundle.model.to(device)
    return replace(bundle, format=settings.format)


def _with_the_memory_there_is(
    bundle: Bundle,
    settings: Settings,
    choose: Choose,
    drafts: Drafts | None,
    conversations: Sequence[Conversation],
    folder: Path,
    failed: Failed,
) -> Iterator[tuple[int, Prediction]]:
    """`write_reports`, with half the batch whenever memory runs out; a study that fits not even alone fails.

    Reports do not depend on the batch, so nothing that was written has to be written again but the rows in work.
    """
    left = dict(enumerate(conversations))
    size = settings.batch_size
    while left:
        numbers = list(left)

        def drop(place: int, why: str, numbers: Sequence[int] = numbers) -> None:
            del left[numbers[place]]
            failed(numbers[place], why)

        try:
            asked = [left[number] for number in numbers]
            for place, prediction in write_reports(
                bundle, asked, folder, size, settings.max_new_tokens, choose, drafts, drop
            ):
                del left[numbers[place]]
                yield numbers[place], prediction
            return
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            number = next(iter(left))  # alone, studies are written in order
            del left[number]
            failed(number, "out of memory, even alone; show fewer films or take a smaller model")
        else:
            size = max(1, min(size, len(numbers)) // 2)
            say(f"out of memory; going on with {size} at a time")


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "allocate memory" in text
    )
