"""Turn a checkpoint into a stock LLaVA folder, or back into the original's layout.

IN is a folder, a zip or a hub name; v1.0 (merged), v1.5 and LLaVA checkpoints are recognised by their config.json and
weights. v1.0 files hold no vision tower, so --vision_tower names it; v1.5 files do, tuned, and it is kept. An OUT that
ends in .bin receives the projector alone, as the original's training wrote it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import replacing
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import say
from cxrgen.llava_med.layouts import KEEP, ConvertOptions, write_original, write_stock
from cxrgen.llava_med.lazy_tensors import LazyTensor, Written, cast, read_tensors, read_weights, whole
from cxrgen.llava_med.tensor_names import (
    EMBEDDINGS,
    HEAD,
    PROJECTOR,
    original_tensors,
    read_layout,
    read_projector,
    with_mean_rows,
)
from cxrgen.model.conversation import TEMPLATES
from cxrgen.model.locate import opened

_EXAMPLES = """examples:
  cxrgen convert LLaVA-Med-7B llava-med --to stock --vision_tower openai/clip-vit-large-patch14
  cxrgen convert llava-med-v1.5-mistral-7b llava-med-1.5 --to stock
  cxrgen convert LLaVA-Med-7B llava-med --to stock --vision_tower clip --projector mm_projector.bin
  cxrgen convert llava-med LLaVA-Med-7B --to original
  cxrgen convert llava-med mm_projector.bin --to original
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("source", metavar="IN", help="checkpoint: folder, zip or hub name")
    parser.add_argument("target", metavar="OUT", type=Path, help="new folder, or a file name ending in .bin")
    parser.add_argument("--to", required=True, choices=("stock", "original"), help="the layout to write")
    parser.add_argument("--vision-tower", help="CLIP folder, zip or hub name, where the checkpoint holds no tower")
    parser.add_argument("--projector", type=Path, help="mm_projector.bin that takes the place of the checkpoint's own")
    parser.add_argument("--model-type", default="", help="original: model type to write, custom_llava for the fork")
    add_format_arguments(parser)


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """How a checkpoint's conversations become tokens, where its files do not say."""
    parser.add_argument("--template", default="", choices=("", *TEMPLATES[1:]), help="stock: conversation template")
    parser.add_argument("--spacing", default="", choices=("", "keep", "strip"), help="stock: tokenizer generation")
    parser.add_argument("--aspect", default="", choices=("", "square", "pad", "black"), help="stock: images to squares")


def run(options: argparse.Namespace) -> int:
    choices = ConvertOptions(options.template, options.spacing, options.aspect, options.model_type)
    written = convert(
        options.source, options.target, options.to, options.vision_tower, options.projector, choices=choices
    )
    say(str(written))
    print(options.target)
    return 0


def convert(
    source: str,
    target: Path,
    to: str,
    vision_tower: str | None = None,
    projector: Path | None = None,
    choices: ConvertOptions = KEEP,
) -> Written:
    """Write `source` as layout `to` (stock | original) at `target`; nothing is left behind on an error.

    Raises InputError naming the tensor or file that does not fit.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(opened(source, target))
        tower = stack.enter_context(opened(vision_tower, target)) if vision_tower else None
        layout = read_layout(folder)
        original = original_tensors(read_weights(folder), layout)
        if projector is not None:
            original = _with_projector(original, projector)
        if target.suffix == ".bin":
            if to == "stock":
                raise UsageError("a projector file is the original's; write it with --to original")
            return _write_projector(target, original)
        temporary = stack.enter_context(new_folder(target))
        if to == "stock":
            return write_stock(temporary, original, layout, folder, tower, choices)
        return write_original(temporary, original, layout, folder, choices.model_type)


def _with_projector(original: Mapping[str, LazyTensor], file: Path) -> dict[str, LazyTensor]:
    """The tensors with a projector file's in their place, and its embedding rows: the whole matrix or the last rows."""
    if not file.is_file():
        raise InputError(f"{file}: no such projector file")
    try:
        found = read_projector(read_tensors(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    result = {name: tensor for name, tensor in original.items() if not name.startswith(PROJECTOR)}
    dtype = result[HEAD].dtype
    rows = found.pop(EMBEDDINGS, None)
    result |= {name: cast(tensor, dtype) for name, tensor in found.items()}
    if rows is None:
        return result
    old = result[EMBEDDINGS]
    if rows.shape[1:] != old.shape[1:]:
        raise InputError(f"{file}: {EMBEDDINGS} has shape {list(rows.shape)}, the checkpoint's is {list(old.shape)}")
    if rows.count >= old.count:
        result[EMBEDDINGS] = cast(rows, dtype)
        result[HEAD] = with_mean_rows(result[HEAD], rows.count)
    else:
        first = old.count - rows.count
        new = whole(rows).to(dtype)
        result[EMBEDDINGS] = LazyTensor(
            old.shape,
            dtype,
            lambda start, stop: torch.cat(
                [old.rows(start, max(start, min(stop, first))), new[max(0, start - first) : max(0, stop - first)]]
            ),
        )
    return result


def _write_projector(target: Path, original: Mapping[str, LazyTensor]) -> Written:
    """The projector as the original's training leaves it: one layer with the embedding matrix, two layers without."""
    names = [name for name in original if name.startswith(PROJECTOR)]
    if not names:
        raise InputError(f"{PROJECTOR}weight: missing from the weights")
    if f"{PROJECTOR}weight" in original:
        names.append(EMBEDDINGS)
    tensors = {name: whole(original[name]) for name in names}
    with replacing(target) as temporary:
        torch.save(tensors, temporary)
    return Written(len(tensors), sum(original[name].bytes for name in names), 0, 0)
