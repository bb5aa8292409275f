"""The parts of an image-text model (vision encoder, projector, language model), found by its structure.

Classes of transformers name their parts in one of few ways, and new classes mostly take up one of these. A projector
may lie within the vision encoder (Qwen's merger); its parameters are then the projector's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from cxrgen.core.errors import InputError

VISION, PROJECTOR, LANGUAGE = "vision", "projector", "language"
# Names below `model.`: vision encoder, what may belong to its projector, language model.
_STRUCTURES = (
    ("vision_tower", ("multi_modal_projector", "image_newline"), "language_model"),
    ("visual", ("visual.merger", "visual.deepstack_merger_list"), "language_model"),
    ("vision_model", ("connector",), "text_model"),
)
_HEAD = "lm_head"
NOT_LANGUAGE = ("vision_tower", "multi_modal_projector", "visual", "vision_model", "connector")


@dataclass(frozen=True)
class Parts:
    """Names of the modules and parameters that each part of a model consists of."""

    vision: str
    projector: tuple[str, ...]
    language: str

    def prefixes(self, part: str) -> tuple[str, ...]:
        """What the names of the part's parameters begin with."""
        whole = {VISION: (self.vision,), PROJECTOR: self.projector, LANGUAGE: (self.language, _HEAD)}
        return whole[part]

    def part_of(self, name: str) -> str:
        """The part that a parameter of this name belongs to; "" for none."""
        return next((part for part in (PROJECTOR, VISION, LANGUAGE) if _within(name, self.prefixes(part))), "")


def _within(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def find_parts(model: Any) -> Parts:
    """The parts of a model. Raises InputError for a class whose parts are not found."""
    inner = model.model
    for vision, projector, language in _STRUCTURES:
        present = tuple(f"model.{name}" for name in projector if _lookup(inner, name) is not None)
        if present and _lookup(inner, vision) is not None and _lookup(inner, language) is not None:
            return Parts(f"model.{vision}", present, f"model.{language}")
    names = ", ".join(name for name, _ in inner.named_children())
    raise InputError(
        f"class {type(model).__name__} has the parts {names}; no vision encoder, projector and language model were "
        f"found among them. Names that are known: {'; '.join(f'{v}, {p[0]}, {t}' for v, p, t in _STRUCTURES)}"
    )


def _lookup(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def vision_encoder(model: Any) -> nn.Module:
    return model.get_submodule(find_parts(model).vision)  # type: ignore[no-any-return]


def language_layers(model: Any) -> nn.ModuleList:
    """The decoder layers, each of which is one unit of sharding."""
    return model.get_submodule(f"{find_parts(model).language}.layers")  # type: ignore[no-any-return]


def projector_modules(model: Any) -> list[str]:
    """The projector's modules by the ends of their names, lists of modules being taken apart."""
    found = []
    for path in find_parts(model).projector:
        part = _lookup(model, path)
        name = path.removeprefix("model.")
        if isinstance(part, nn.ModuleList):
            found += [f"{name}.{number}" for number in range(len(part))]
        elif isinstance(part, nn.Module):
            found.append(name)
    return found


def language_linear_layers(model: Any) -> str:
    """A regular expression for the linear layers of the language model, by their last names."""
    path = find_parts(model).language
    layers = model.get_submodule(path).named_modules()
    names = dict.fromkeys(name.rpartition(".")[2] for name, module in layers if isinstance(module, nn.Linear))
    return rf".*{path.removeprefix('model.')}.*\.({'|'.join(names)})"
