"""What turns conversations into reports in one process: the checkpoint on its device, and the memory there is.

The engine is transformers, in refilled batches where these are exact for the class and by `generate` where not, or
vLLM; each is one function from conversations to reports.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cxrgen.core.progress import say
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding.ngram_drafts import NgramTable
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.generate.decoding.sampling import Failed, Sampler, make_sampler
from cxrgen.generate.settings import Settings
from cxrgen.model.checkpoint import Checkpoint, open_model_folder
from cxrgen.model.quantization import quantization

# Conversations, the folder of their images, and a callback for studies that fail: to (number, report) as they come.
Engine = Callable[[Sequence[Conversation], Path, Failed], Iterator[tuple[int, Prediction]]]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_engine(settings: Settings, most_images: int) -> Engine:
    """Load the checkpoint, for studies of up to `most_images`. Raises InputError when it or a package is missing."""
    if settings.engine == "vllm":
        from cxrgen.generate.vllm import VllmEngine

        return VllmEngine(settings, most_images).write
    checkpoint = open_on_device(settings)
    sampler = make_sampler(settings.temperature, settings.top_p, settings.seed)
    ngrams = _ngram_table(settings, checkpoint)

    def write(conversations: Sequence[Conversation], folder: Path, failed: Failed) -> Iterator[tuple[int, Prediction]]:
        return _halving_on_memory(checkpoint, settings, sampler, ngrams, conversations, folder, failed)

    return write


def _ngram_table(settings: Settings, checkpoint: Checkpoint) -> NgramTable | None:
    if not settings.ngram_reports:
        return None
    tokenizer = checkpoint.tokenizer
    ends = [tokenizer.eos_token_id] if checkpoint.format.template == "plain" else []
    reports = settings.ngram_reports
    return NgramTable([[*tokenizer(text, add_special_tokens=False)["input_ids"], *ends] for text in reports])


def open_on_device(settings: Settings) -> Checkpoint:
    """The checkpoint on its device, with the settings' format in place of its own."""
    rank, count = (int(os.environ.get(name, value)) for name, value in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    if torch.cuda.is_available():
        device = f"cuda:{rank % torch.cuda.device_count()}"
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    else:
        device, dtype = "cpu", torch.float32
        if count > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // count))
    dtype = _DTYPES.get(settings.dtype, dtype)
    if settings.bits:
        how = {
            "quantization_config": quantization(settings.bits, dtype, f"--load-in-{settings.bits}bit"),
            "device_map": {"": device},
        }
        checkpoint = open_model_folder(settings.model, dtype, **how)
    else:
        checkpoint = open_model_folder(settings.model, dtype)
        checkpoint.model.to(device)
    return replace(checkpoint, format=settings.format)


def _halving_on_memory(
    checkpoint: Checkpoint,
    settings: Settings,
    sampler: Sampler,
    ngrams: NgramTable | None,
    conversations: Sequence[Conversation],
    folder: Path,
    failed: Failed,
) -> Iterator[tuple[int, Prediction]]:
    """`write_reports`, with half the batch whenever memory runs out; a study that does not fit alone fails.

    Reports do not depend on the batch, so only the rows in work have to be written again.
    """
    left = dict(enumerate(conversations))
    size = settings.batch_size
    while left:
        numbers = list(left)

        def drop(index: int, why: str, numbers: Sequence[int] = numbers) -> None:
            del left[numbers[index]]
            failed(numbers[index], why)

        try:
            asked = [left[number] for number in numbers]
            scored = settings.samples > 0
            for index, prediction in write_reports(
                checkpoint, asked, folder, size, settings.max_new_tokens, sampler, ngrams, drop, scored
            ):
                del left[numbers[index]]
                yield numbers[index], prediction
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
            failed(number, "out of memory even alone; give it fewer images, or use --load-in-4bit")
        else:
            size = max(1, min(size, len(numbers)) // 2)
            say(f"out of memory; going on with {size} at a time")


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "allocate memory" in text
    )
