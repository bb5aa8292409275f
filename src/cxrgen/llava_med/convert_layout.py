"""A checkpoint of one layout written in another: stock LLaVA, LLaVA-Med v1.0, v1.5, or its projector alone.

Weights stream through by name (`tensor_names`), so a model of any size takes little memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import replacing
from cxrgen.core.folders import new_folder
from cxrgen.llava_med.layouts import DEFAULTS, ConvertOptions, write_original, write_stock
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
from cxrgen.model.locate import opened


def convert(
    source: str,
    target: Path,
    to: str,
    vision_tower: str | None = None,
    projector: Path | None = None,
    options: ConvertOptions = DEFAULTS,
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
            return write_stock(temporary, original, layout, folder, tower, options)
        return write_original(temporary, original, layout, folder, options.model_type)


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
