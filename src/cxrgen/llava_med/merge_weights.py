"""Base weights plus published differences, or the differences of two checkpoints, block by block.

  merged[name] = fp16(fp16(base) + fp16(delta))   where shapes agree
  embed_tokens, lm_head: the base's rows so, the delta's further rows as they are
  mm_projector: the delta's, as it is

No model is built: blocks of rows go from mapped files straight into safetensors shards, so memory does not grow with
the model. The sum is formed in float32 and rounded once, which gives the bits of the original's command. What does not
fit together is refused by the name of the tensor, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import say
from cxrgen.llava_med.layouts import DEFAULTS, ConvertOptions, write_original, write_stock
from cxrgen.llava_med.lazy_tensors import LazyTensor, Written, cast, read_weights
from cxrgen.llava_med.tensor_names import EMBEDDINGS, HEAD, PROJECTOR, Layout, original_tensors, read_layout
from cxrgen.model.llama_tokenizer import IMAGE_PATCH, read_llama_tokens
from cxrgen.model.locate import at_hand, opened

_NEW = (f"{PROJECTOR}weight", f"{PROJECTOR}bias")
_GROWN = (EMBEDDINGS, HEAD)
_SAMPLED_ROWS = 128
_ENOUGH, _DISTINCT = 500, 8  # changed values, and how many kinds of them; fewer say nothing about the base


def merge(
    base: str,
    delta: str,
    target: Path,
    layout: str | None = None,
    vision_tower: str | None = None,
    options: ConvertOptions = DEFAULTS,
) -> Written:
    """Write base + delta as a new folder `target`; raises InputError naming the tensor or file that does not fit.

    `layout` None: stock where the vision encoder is named or already on this machine, else the original's.
    """
    if layout == "original" and vision_tower:
        raise UsageError("--vision-tower: the original's layout holds no encoder; use --layout stock")
    with ExitStack() as stack:
        base_folder = stack.enter_context(opened(base, target))
        delta_folder = stack.enter_context(opened(delta, target))
        base_layout, delta_layout = read_layout(base_folder), read_layout(delta_folder)
        parts, differences = read_weights(base_folder), read_weights(delta_folder)
        _check_base_is_plain(parts, base_layout, base_folder)
        _check_added_rows(parts, delta_folder)
        original = merged(parts, differences)
        _check_base_belongs(parts, differences)
        tower = stack.enter_context(opened(vision_tower, target)) if vision_tower else None
        if tower is None and layout != "original":
            named = delta_layout.config.get("mm_vision_tower")
            tower = at_hand(str(named)) if named else None
            if tower is None and layout is None:
                say("no --vision-tower named, so the layout is the original's; `cxrgen convert` makes it stock later")
        # Old deltas call themselves plain llama: sizes are the base's, the rest is the delta's.
        both = Layout({**base_layout.config, **delta_layout.config}, False, delta_layout.model_type)
        temporary = stack.enter_context(new_folder(target))
        if layout == "original" or (layout is None and tower is None):
            kind = "llava" if delta_layout.model_type == "llama" else delta_layout.model_type
            return write_original(temporary, original, both, delta_folder, kind)
        return write_stock(temporary, original, both, delta_folder, tower, options)


def make_delta(base: str, target: str, delta: Path) -> Written:
    """Write target - base as a new folder `delta`, with the target's settings and tokenizer."""
    with ExitStack() as stack:
        base_folder = stack.enter_context(opened(base, delta))
        target_folder = stack.enter_context(opened(target, delta))
        base_layout, layout = read_layout(base_folder), read_layout(target_folder)
        parts, whole = read_weights(base_folder), original_tensors(read_weights(target_folder), layout)
        _check_base_is_plain(parts, base_layout, base_folder)
        _check_added_rows(parts, target_folder)
        whole = {name: tensor for name, tensor in whole.items() if name in parts or name in _NEW}
        temporary = stack.enter_context(new_folder(delta))
        return write_original(temporary, differing(parts, whole), layout, target_folder)


def merged(base: Mapping[str, LazyTensor], delta: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Base + delta, tensor by tensor, float16. Raises InputError for names or shapes that do not pair.

    Rotary frequencies come from the base, as they are.
    """
    return _paired(base, delta, "delta", torch.add)


def differing(base: Mapping[str, LazyTensor], target: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Target - base, the inverse of `merged` up to the rounding of float16; without rotary frequencies."""
    pairs = _paired(base, target, "target", lambda ours, theirs: torch.sub(theirs, ours))
    return {name: tensor for name, tensor in pairs.items() if not _is_frequencies(name)}


def _paired(
    base: Mapping[str, LazyTensor], other: Mapping[str, LazyTensor], what: str, combine: Callable[..., torch.Tensor]
) -> dict[str, LazyTensor]:
    for name in base:
        if name not in other and not _is_frequencies(name):
            raise InputError(f"{name}: missing from the {what}")
    for name in _NEW:
        if name not in other:
            raise InputError(f"{name}: missing from the {what}, so it is not LLaVA's")
    result = {}
    for name, tensor in other.items():
        if _is_frequencies(name):
            continue
        if name in _NEW and name not in base:
            result[name] = cast(tensor, torch.float16)
        elif name not in base:
            raise InputError(f"{name}: in the {what}, but not in the base")
        else:
            result[name] = _combined(name, base[name], tensor, what, combine)
    return result | {name: tensor for name, tensor in base.items() if _is_frequencies(name)}


def _combined(
    name: str, base: LazyTensor, other: LazyTensor, what: str, combine: Callable[..., torch.Tensor]
) -> LazyTensor:
    grown = name in _GROWN and other.count >= base.count and other.shape[1:] == base.shape[1:]
    if other.shape != base.shape and not grown:
        raise InputError(f"{name}: shape {list(base.shape)} in the base, {list(other.shape)} in the {what}")

    def rows(start: int, stop: int) -> torch.Tensor:
        theirs = other.rows(start, stop).to(torch.float16)
        known = min(stop, base.count)
        if start >= known:
            return theirs
        # Halves are added in float32 and rounded once.
        summed = combine(base.rows(start, known).to(torch.float16), theirs[: known - start])
        return summed if known == stop else torch.cat([summed, theirs[known - start :]])

    return LazyTensor(other.shape, torch.float16, rows)


def _is_frequencies(name: str) -> bool:
    return name.endswith("rotary_emb.inv_freq")


def _check_base_is_plain(base: Mapping[str, LazyTensor], layout: Layout, folder: Path) -> None:
    for name in base:
        if "projector" in name:
            raise InputError(f"{name}: in the base {folder}, so that is merged already; give the plain LLaMA-7B")
    if layout.stock:
        raise InputError(f"{folder}: a LLaVA checkpoint; the base of a delta is the plain LLaMA-7B")
    for name in _GROWN:
        if name not in base:
            raise InputError(f"{name}: missing from the base {folder}")


def _check_added_rows(base: Mapping[str, LazyTensor], folder: Path) -> None:
    """The tokens that LLaVA adds come right behind the base's vocabulary; a base that has them is another one."""
    tokens = read_llama_tokens(folder, ()).special
    rows = base[EMBEDDINGS].count
    if IMAGE_PATCH in tokens and tokens[IMAGE_PATCH] < rows:
        raise InputError(
            f"{EMBEDDINGS}: the base has {rows} rows, {IMAGE_PATCH} of the delta has id {tokens[IMAGE_PATCH]}; "
            "the base is merged already, or another model than LLaMA-7B"
        )


def _check_base_belongs(base: Mapping[str, LazyTensor], delta: Mapping[str, LazyTensor]) -> None:
    """Raises InputError when the rows say that the delta was made from another base.

    target - base is a multiple of the base's own float16 spacing, value by value. So such differences end in zero bits,
    and base + delta needs no rounding far more often than the base's rows plus the delta's rows *in another order*. Of
    a wrong base both are equally rare. Values that are no such differences say nothing, and a base that differs by a
    little fine-tuning passes: no statistic of the two files can tell it. Embedding rows are looked at first, and
    layers only where training has left the embeddings alone.
    """
    fitting = shuffled = compared = even = 0
    alike: list[float] = []
    values: set[float] = set()
    for name in (*_GROWN, *(name for name in base if name not in _GROWN and len(base[name].shape) == 2)):
        if compared >= _ENOUGH and name not in _GROWN:
            break
        rows = min(base[name].count, delta[name].count)
        places = range(0, rows, max(1, rows // _SAMPLED_ROWS))
        ours = torch.cat([base[name].rows(n, n + 1) for n in places]).to(torch.float16)
        theirs = torch.cat([delta[name].rows(n, n + 1) for n in places]).to(torch.float16)
        alike.append(float(torch.cosine_similarity(ours.flatten().double(), theirs.flatten().double(), dim=0)))
        changed = theirs != 0
        compared += int(changed.sum())
        even += int(((theirs.view(torch.int16) & 1 == 0) & changed).sum())
        values.update(theirs[changed][:_ENOUGH].tolist())
        fitting += int((_needs_no_rounding(ours, theirs) & changed).sum())
        shuffled += int((_needs_no_rounding(ours.roll(1, 0), theirs) & changed).sum())
    if min(alike) > 0.5:
        raise InputError(f"{EMBEDDINGS}: the delta holds whole weights, not differences; it is merged already")
    if compared < _ENOUGH or len(values) < _DISTINCT or even < 0.6 * compared:
        return
    share, chance = fitting / compared, shuffled / compared
    if share < 0.9 and share - chance < max(0.02, 5 * (chance * (1 - chance) / compared) ** 0.5):
        raise InputError(
            f"{EMBEDDINGS}: the delta was made from another base: {share:.0%} of the sums need no rounding, by chance "
            f"it would be {chance:.0%}; LLaVA's deltas want the original LLaMA-7B, neither LLaMA-2 nor Vicuna"
        )


def _needs_no_rounding(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    total = first.float() + second.float()
    return total.half().float() == total
