"""What a plan is made from: the run's model without its weights, and samples of its data as training cuts them.

The model is built on the meta device from config.json, or from the sizes of a new one, and marked as the run marks it.
Lengths come from the run's own encoding where the folder has a processor; of a config.json alone they are estimated
from the numbers of characters. Of a large set some studies are drawn, since only lengths are wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForImageTextToText

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation
from cxrgen.model.assemble import join_without_weights
from cxrgen.model.batches import IGNORE, Sample
from cxrgen.model.checkpoint import FORMAT_FILE, Checkpoint, chat_format, quiet
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.folder_checks import check_config, image_tokens_of
from cxrgen.model.locate import base_of
from cxrgen.model.parts import LANGUAGE, find_parts
from cxrgen.model.pip_weights import SMOLLM2, encoder_folder, packaged_language_model
from cxrgen.model.processors import open_processor
from cxrgen.model.templates import CHAT
from cxrgen.model.tiny import NewModel, new_model
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.train.activations import BatchShape, Cost, Work, batch_cost, image_work, on_fake_processor
from cxrgen.train.config import TrainableConfig, TrainConfig
from cxrgen.train.data import SamplerConfig, encode_data, micro_batches, steps_in_epoch
from cxrgen.train.memory import Sizes, moment_bytes
from cxrgen.train.several_sets import read_data
from cxrgen.train.trainable import hold_in_bf16, mode_of, set_trainable

_DRAWN, _DRAWN_WITH_IMAGES = 2000, 200  # studies; a chat template's processor reads the images themselves
_CHARACTERS = 4  # a token of English text
_AROUND = 60  # tokens of a template's own words
_IMAGE_TOKENS = 256  # of a class that does not say it
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ImportError)


@dataclass(frozen=True)
class Material:
    """The model on the meta device, the number of all studies, and drawn ones as samples; all but its mode.

    Of the model's `layers` decoder layers it has only the first: the others are like it.
    """

    model: Any
    layers: int
    total: int
    samples: list[list[Sample]]
    images: tuple[Path, ...]  # some of them, to time their reading
    checkpoint: Checkpoint | None  # None: lengths are estimated
    image_tokens: int
    marked: dict[Any, FakeModel] = field(default_factory=dict)  # what `fake_model` has made


@dataclass(frozen=True)
class FakeModel:
    """A marked model of fake tensors; numbers of parameters in a layer, outside of all, and in the largest tensor."""

    model: Any
    mode: FakeTensorMode
    sizes: Sizes
    layer: int
    outside: int
    trained_outside: int
    largest: int
    images: tuple[Work, Work]
    bf16: bool
    layers: int
    costs: dict[BatchShape, Cost] = field(default_factory=dict)

    def cost(self, shape: BatchShape) -> Cost:
        """Of one micro-batch; known from then on."""
        if shape not in self.costs:
            self.costs[shape] = batch_cost(self.model, self.mode, shape, self.bf16, self.images, self.layers)
        return self.costs[shape]


def read_material(config: TrainConfig) -> Material:
    """Model and samples of a run. Raises InputError for a folder whose config.json cannot be used."""
    data = read_data(config.data)
    chosen = np.random.default_rng(0).permutation(len(data.variants))
    texts = [turn.text for index in chosen[:_DRAWN] for turn in data.variants[index][0].turns]
    model, processor, format = _without_weights(config, texts)
    layers = _shorten(model)
    chat = format is not None and format.template == CHAT
    variants = [data.variants[index] for index in chosen[: _DRAWN_WITH_IMAGES if chat else _DRAWN]]
    paths = dict.fromkeys(data.folder / path for each in variants for path in each[0].images)
    images = tuple(islice(paths, 8))
    if processor is not None and format is not None:
        checkpoint = Checkpoint(model, processor, format)
        samples, _ = encode_data(checkpoint, variants, "cut", data.folder)
        tokens = format.image_tokens or _tokens_of(model.config)
        return Material(model, layers, len(data.variants), samples, images, checkpoint, tokens)
    tokens = _tokens_of(model.config)
    longest = config.model.model_max_length or 2048
    estimates = [[_estimate(each, tokens, longest) for each in some] for some in variants]
    return Material(model, layers, len(data.variants), estimates, images, None, tokens)


def material_of(model: Any, samples: Sequence[Sample], image_tokens: int) -> Material:
    """Of a model on the meta device and samples that are at hand."""
    return Material(model, _shorten(model), len(samples), [[each] for each in samples], (), None, image_tokens)


def _shorten(model: Any) -> int:
    """Leave the first decoder layer alone; returns how many there were."""
    language = model.get_submodule(find_parts(model).language)
    count = len(language.layers)
    language.layers = language.layers[:1]
    return count


def _without_weights(config: TrainConfig, texts: Sequence[str]) -> tuple[Any, Any, Format | None]:
    """Model on the meta device, processor and format; the last two are None where the folder lacks them."""
    start, tiny = config.model, config.tiny
    plain = Format(template="plain", image_tokens=tiny.image_tokens, max_length=start.model_max_length or 2048)
    if start.model_name_or_path:
        return _of_folder(Path(start.model_name_or_path), config)
    with torch.device("meta"):
        if not start.language_model:
            return *new_model(NewModel(**asdict(tiny)), texts, config.seed), plain
        language = packaged_language_model() if start.language_model == SMOLLM2 else Path(start.language_model)
        small = ConvTowerConfig(image_size=tiny.image_size, tokens=tiny.image_tokens, stem=tiny.encoder_stem)
        encoder = encoder_folder(start.vision_tower) if start.vision_tower else small
        settings, processor = join_without_weights(language, encoder, start.token_pooling)
        model = AutoModelForImageTextToText.from_config(settings)
    return model, processor, replace(plain, image_tokens=settings.image_seq_length)


def _of_folder(folder: Path, config: TrainConfig) -> tuple[Any, Any, Format | None]:
    base = base_of(folder) or folder
    settings = check_config(base)
    try:
        with torch.device("meta"), quiet():
            made = AutoConfig.from_pretrained(base, local_files_only=True)
            model = AutoModelForImageTextToText.from_config(made)
        find_parts(model)
    except _UNREADABLE as error:
        raise InputError(f"{base}: no model can be built from its config.json ({type(error).__name__})") from None
    try:
        with quiet():
            processor = open_processor(folder)
            if processor.tokenizer.pad_token_id is None:
                processor.tokenizer.pad_token = processor.tokenizer.eos_token
            format = _format(folder, settings, processor, config)
    except (*_UNREADABLE, InputError):
        return model, None, None
    return model, processor, format


def _format(folder: Path, settings: dict[str, Any], processor: Any, config: TrainConfig) -> Format:
    """As `init_model` takes it, with the settings that lengths depend on."""
    tokens = image_tokens_of(settings) if settings.get("model_type") == "llava" else None
    if (folder / FORMAT_FILE).is_file():
        format = recorded_format(folder / FORMAT_FILE)
    elif tokens is None or config.model.version == CHAT:
        format = chat_format(folder)
    else:
        format = Format(template="v0", image_token=processor.image_token, image_tokens=tokens)
    longest = config.model.model_max_length or format.max_length
    return replace(format, template=config.model.version or format.template, max_length=longest)


def _tokens_of(settings: Any) -> int:
    known = image_tokens_of(settings.to_dict()) if settings.model_type == "llava" else None
    named = (getattr(settings, name, None) for name in ("image_seq_length", "mm_tokens_per_image"))
    return known or next((value for value in named if isinstance(value, int)), _IMAGE_TOKENS)


def _estimate(conversation: Conversation, image_tokens: int, longest: int) -> Sample:
    """As many tokens as a conversation of this many characters and images will have, at most `longest`."""
    learnt = 1 + sum(len(turn.text) for turn in conversation.turns if turn.role == "assistant") // _CHARACTERS
    asked = sum(len(turn.text) for turn in conversation.turns if turn.role != "assistant") // _CHARACTERS
    before = _AROUND + asked + len(conversation.images) * image_tokens
    labels = ([IGNORE] * before + [0] * learnt)[:longest]
    return Sample(conversation.id, [0] * len(labels), labels, conversation.images)


def batch_shapes(material: Material, sampler: SamplerConfig, processes: int, packing: bool) -> list[BatchShape]:
    """The micro-batches of one epoch over the drawn samples, of all processes together."""
    pieces = sampler.accumulation * processes
    steps = steps_in_epoch(len(material.samples), sampler)
    micro = micro_batches(material.samples, replace(sampler, accumulation=pieces))
    return [_shape(batch, packing) for batch in islice(micro, steps * pieces)]


def _shape(batch: Sequence[Sample], packing: bool) -> BatchShape:
    length = max(len(sample.input_ids) for sample in batch)
    learnt = {column for each in batch for column, label in enumerate(each.labels) if label != IGNORE}
    images = sum(len(sample.images) for sample in batch)
    if packing:
        count = sum(label != IGNORE for sample in batch for label in sample.labels)
        return BatchShape(1, sum(len(sample.input_ids) for sample in batch), count, images)
    return BatchShape(len(batch), length, len(learnt), images)


def fake_model(material: Material, config: TrainConfig, bf16: bool) -> FakeModel:
    """The model marked for the run's mode; it is made once for each mode."""
    trainable = replace(config.trainable, gradient_checkpointing=False)
    rounded = bf16 and bool(config.model.model_name_or_path)
    key = (trainable, bf16, moment_bytes(config.optim), config.data.cache_features)
    if key not in material.marked:
        model = copy.deepcopy(material.model)
        set_trainable(model, trainable)
        model.train()
        if rounded:
            hold_in_bf16(model)
        sizes, inside, trained_inside = _sizes(model, material.layers, key[2], bf16, trainable)
        largest = max(each.numel() for each in model.parameters())
        fake = on_fake_processor(model)
        work = image_work(model, fake, bf16, config.data.cache_features)
        outside = sizes.trained + sizes.frozen - material.layers * inside
        trained_outside = sizes.trained - material.layers * trained_inside
        material.marked[key] = FakeModel(
            model, fake, sizes, inside, outside, trained_outside, largest, work, bf16, material.layers
        )
    return material.marked[key]


def _sizes(model: Any, layers: int, moments: int, bf16: bool, trainable: TrainableConfig) -> tuple[Sizes, int, int]:
    """Numbers of parameters of the model with all its layers; of one layer, and of what is trained in it."""
    inside = find_parts(model).language + ".layers."
    in_float32, in_4_bits = _kept(model, mode_of(trainable.train_modules).four_bit)
    counts = dict.fromkeys(("trained", "frozen", "float32", "4 bits", "layer", "layer trained"), 0)
    for name, each in model.named_parameters():
        times = layers if name.startswith(inside) else 1
        counts["trained" if each.requires_grad else "frozen"] += times * each.numel()
        counts["float32"] += times * each.numel() * (name in in_float32)
        counts["4 bits"] += times * each.numel() * (name in in_4_bits)
        counts["layer"] += each.numel() * name.startswith(inside)
        counts["layer trained"] += each.numel() * (name.startswith(inside) and each.requires_grad)
    sizes = Sizes(counts["trained"], counts["frozen"], moments, bf16, counts["float32"], counts["4 bits"])
    return sizes, counts["layer"], counts["layer trained"]


def _kept(model: Any, four_bit: bool) -> tuple[set[str], set[str]]:
    """Names of frozen parameters that stay in float32, and of those in four bits."""
    parts = find_parts(model)
    frozen = {name: each for name, each in model.named_parameters() if not each.requires_grad}
    quantised = set()
    if four_bit:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and parts.part_of(f"{name}.weight") == LANGUAGE and "lm_head" not in name:
                quantised |= {f"{name}.weight"} & frozen.keys()
    return {name for name, each in frozen.items() if each.dtype == torch.float32} - quantised, quantised
