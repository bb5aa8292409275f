"""What turns conversations into reports in one process: the checkpoint on its device, and the memory there is.

The engine is transformers with our own batches, or vLLM; both are one function from conversations to reports.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import BitsAndBytesConfig

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding.decode import DraftsFor, Failed, write_reports
from cxrgen.generate.decoding.ngram_drafts import Drafts
from cxrgen.generate.decoding.prefill import Images
from cxrgen.generate.decoding.sampling import Sampler, greedy, sampling
from cxrgen.generate.nearest import NearestDrafts
from cxrgen.generate.settings import Settings
from cxrgen.model.checkpoint import Checkpoint, open_checkpoint

# Conversations, the folder of their images, and who is told of studies that fail: to (number, report) as they come.
Engine = Callable[[Sequence[Conversation], Path, Failed], Iterator[tuple[int, Prediction]]]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_engine(settings: Settings, most_images: int) -> Engine:
    """Load the checkpoint, for studies of up to `most_images`. Raises InputError when it or a package is missing."""
    if settings.engine == "vllm":
        from cxrgen.generate.vllm import VllmEngine

        return VllmEngine(settings, most_images).write
    checkpoint = open_on_device(settings)
    choose = make_sampler(settings)
    drafts = _drafts(settings, checkpoint)

    def write(conversations: Sequence[Conversation], folder: Path, failed: Failed) -> Iterator[tuple[int, Prediction]]:
        return _with_the_memory_there_is(checkpoint, settings, choose, drafts, conversations, folder, failed)

    return write


def _drafts(settings: Settings, checkpoint: Checkpoint) -> DraftsFor | None:
    if not settings.drafts:
        return None
    ends = [checkpoint.tokenizer.eos_token_id] if checkpoint.format.template == "plain" else []
    reports = [
        [*checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"], *ends] for text, _ in settings.drafts
    ]
    if settings.nearest:
        return NearestDrafts(Images(checkpoint, Path()), [image for _, image in settings.drafts], reports)
    store = Drafts(reports)
    return lambda images, prompt: store


def make_sampler(settings: Settings) -> Sampler:
    if settings.temperature == 0.0:
        return greedy
    return sampling(settings.temperature, settings.top_p, settings.seed)


def open_on_device(settings: Settings) -> Checkpoint:
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
    if settings.bits:
        how = {"quantization_config": _fewer_bits(settings.bits, dtype), "device_map": {"": device}}
        checkpoint = open_checkpoint(settings.model, dtype, **how)
    else:
        checkpoint = open_checkpoint(settings.model, dtype)
        checkpoint.model.to(device)
    return replace(checkpoint, format=settings.format)


def _fewer_bits(bits: int, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Linear layers of the language model in 8 bits, or in 4 (NF4); tower, projector and head stay as they are."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f'--load-in-{bits}bit: bitsandbytes is not installed; pip install "cxrgen[quant]"')
    if not torch.cuda.is_available():
        raise InputError(f"--load-in-{bits}bit needs a GPU; here, leave it out")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns in every layer and step
    kept = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=kept
    )


def _with_the_memory_there_is(
    checkpoint: Checkpoint,
    settings: Settings,
    choose: Sampler,
    drafts: DraftsFor | None,
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
                checkpoint, asked, folder, size, settings.max_new_tokens, choose, drafts, drop
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
            failed(number, "out of memory, even alone; show fewer images, or give --load-in-4bit")
        else:
            size = max(1, min(size, len(numbers)) // 2)
            say(f"out of memory; going on with {size} at a time")


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "allocate memory" in text
    )
