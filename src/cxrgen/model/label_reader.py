"""A label reader: a vision encoder with a linear head, whose scores become words in the prompt (`--label_prompt`).

It is a folder of its own inside a checkpoint's: the encoder as it was when the head was fitted, its image processor,
the head and the steps of each label. So it serves every class of model, and stays what it was whatever is trained
afterwards. The price is a second copy of the encoder, and that images are encoded once more.

Shapes: N images or studies, V slots (the first frontal and the first lateral), T tokens, C hidden size, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoImageProcessor, AutoModel

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import track
from cxrgen.core.records import FRONTAL, LATERAL, Study
from cxrgen.core.tables import read_json
from cxrgen.imaging.stored import ImageRule
from cxrgen.model.conversation import Format
from cxrgen.model.features import encoder_features, in_slices
from cxrgen.model.pixels import image_pixels
from cxrgen.text.label_words import STEPS, with_words, words_of
from cxrgen.text.prompts import PromptRule, shown_views

SLOTS = (FRONTAL, LATERAL)  # the reader takes one image of each
_RECORD, _HEAD = "label_reader.json", "head.safetensors"
_SLICE = 64  # images in a forward pass, whatever the batch size of anything else
_MOST_TOKENS, _SIDE = 64, 4  # a larger grid of tokens is averaged to 4 x 4


class LinearHead(nn.Module):
    """Features (B, V, T, C) of V views to numbers (B, L), larger where a label is likelier; no log-odds."""

    mean: torch.Tensor
    deviation: torch.Tensor
    weights: torch.Tensor

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor, weights: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("weights", weights)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = (features.flatten(1) - self.mean) / self.deviation
        return scaled @ self.weights


@dataclass(frozen=True)
class ImageEncoder:
    """A vision encoder and how images become its features."""

    model: Any
    image_processor: Any
    layer: int
    class_token: bool
    aspect: str
    images: ImageRule

    def features(self, paths: Sequence[Path]) -> list[torch.Tensor | None]:
        """Features (T, C) of each image, float32 on the CPU; None for one that cannot be read.

        A large grid of tokens is averaged to 4 x 4.
        """
        self.model.eval()
        found: list[torch.Tensor | None] = []
        slices = list(in_slices(paths, _SLICE))
        for some in track(slices, "images for labels", len(slices)):
            try:
                found += self._features(some)
            except InputError:  # whoever writes of that study says what is wrong with its image
                for path in some:
                    try:
                        found += self._features([path])
                    except InputError:
                        found.append(None)
        return found

    @torch.inference_mode()
    def _features(self, paths: Sequence[Path]) -> list[torch.Tensor]:
        where = next(self.model.parameters())
        format = Format(aspect=self.aspect, rendering=self.images.rendering, longest_side=self.images.longest_side)
        pixels = image_pixels(paths, self.image_processor, format).to(where.device, where.dtype)
        return list(_few_tokens(encoder_features(self.model, pixels, self.layer, self.class_token)).float().cpu())


def _few_tokens(features: torch.Tensor) -> torch.Tensor:
    tokens = features.shape[1]
    side = math.isqrt(tokens)
    if tokens <= _MOST_TOKENS or side * side != tokens:
        return features
    grid = features.transpose(1, 2).reshape(len(features), -1, side, side)
    return nn.functional.adaptive_avg_pool2d(grid, _SIDE).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class LabelReader:
    """An encoder, a head of its features, and for each label the least score of each step of `STEPS`."""

    encoder: ImageEncoder
    head: LinearHead
    names: tuple[str, ...]
    least: Mapping[str, Sequence[float]]  # step -> (L,)

    def words(self, scores: torch.Tensor) -> list[str]:
        """Scores (N, L) as words, one text a study."""
        return [words_of(self._steps(row)) for row in scores.tolist()]

    def _steps(self, scores: Sequence[float]) -> dict[str, str]:
        steps: dict[str, str] = {}
        for number, name in enumerate(self.names):
            reached = [step for step in STEPS if scores[number] >= self.least[step][number]]
            if reached:
                steps[name] = reached[0]  # the strongest
        return steps

    def with_labels(self, studies: Sequence[Study], rule: PromptRule, folder: Path) -> list[Study]:
        """The studies with the words that are read from those images that a prompt by `rule` shows.

        A study without such an image is left as it is.
        """
        known = read_slots(self.encoder, studies, rule, folder)
        rows = [row for row, of in enumerate(known) if any(each is not None for each in of)]
        for each in (each for of in known for each in of if each is not None):
            if each.numel() * len(SLOTS) != self.head.mean.numel():
                raise InputError("the label reader's head does not fit its encoder; bring the folder as it was written")
        labelled = list(studies)
        for some in in_slices(rows, _SLICE):
            scores = self.head(side_by_side([known[row] for row in some], self.head.mean))
            for row, words in zip(some, self.words(scores)):
                labelled[row] = with_words(studies[row], rule.views, words)
        return labelled


Known = Sequence[Sequence[torch.Tensor | None]]  # of each study the features (T, C) of the image in each slot


def read_slots(encoder: ImageEncoder, studies: Sequence[Study], rule: PromptRule, folder: Path) -> Known:
    """Of each study, the features of its first image of each of `SLOTS` among those that a prompt by `rule` shows."""
    shown = [shown_views(study, rule) for study in studies]
    slots = [[next((view.path for view in views if view.view == kind), None) for kind in SLOTS] for views in shown]
    paths = list(dict.fromkeys(path for of in slots for path in of if path is not None))  # each once
    found = dict(zip(paths, encoder.features([folder / path for path in paths])))
    return [[found.get(path or "") for path in of] for of in slots]


def mean_features(known: Known) -> torch.Tensor:
    """The mean over images of each slot (V * T * C), one image at least; zeros for a slot that no study has."""
    slots = [[each for each in of if each is not None] for of in zip(*known)]
    shape = next(each.shape for of in slots for each in of)
    return torch.cat([torch.stack(of).mean(0).flatten() if of else torch.zeros(shape.numel()) for of in slots])


def side_by_side(known: Known, missing: torch.Tensor) -> torch.Tensor:
    """Features (N, V * T * C) of N studies' images (T, C).

    An image that is not there has the mean features `missing` (V * T * C): it speaks neither for a label nor against.
    """
    means = missing.chunk(len(SLOTS))
    rows = [torch.cat([mean if each is None else each.flatten() for each, mean in zip(of, means)]) for of in known]
    return torch.stack(rows)


def save_label_reader(folder: Path, reader: LabelReader) -> None:
    """Write the reader as a folder that `open_label_reader` opens."""
    encoder = reader.encoder
    with new_folder(folder, replace=True) as target:
        encoder.model.save_pretrained(target)
        encoder.image_processor.save_pretrained(target)
        save_file({name: tensor.contiguous() for name, tensor in reader.head.state_dict().items()}, target / _HEAD)
        record: dict[str, Any] = {"names": reader.names, "least": {step: list(reader.least[step]) for step in STEPS}}
        record |= {"layer": encoder.layer, "class_token": encoder.class_token, "aspect": encoder.aspect}
        write_json(target / _RECORD, {**record, "images": asdict(encoder.images)})


def open_label_reader(folder: Path, device: str | torch.device = "cpu") -> LabelReader:
    """The reader in `folder`, its encoder on `device`. Raises InputError for a folder that does not hold one."""
    if not (folder / _RECORD).is_file():
        raise InputError(f"{folder}: no {_RECORD}, so no label reader; bring it, or leave labels out of --context")
    record = read_json(folder / _RECORD)
    try:
        head = LinearHead(**{name: value.float() for name, value in load_file(folder / _HEAD).items()})
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).to(device)
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        how = (record["layer"], record["class_token"], record["aspect"], ImageRule(**record["images"]))
        names = tuple(record["names"])
        if head.weights.shape[1] != len(names) or any(len(record["least"][step]) != len(names) for step in STEPS):
            raise ValueError(f"{len(names)} names for {head.weights.shape[1]} labels")
        least = {step: [float(score) for score in record["least"][step]] for step in STEPS}
        encoder = ImageEncoder(getattr(model, "vision_model", model), processor, *how)
        return LabelReader(encoder, head, names, least)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: the label reader cannot be opened: {first_line}") from None
