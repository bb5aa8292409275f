"""Train a report writer on a prepared set or a LLaVA JSON file.

A recipe (YAML) gives the settings, flags override it. Without --model_name_or_path a new small model is made. The
result is a folder that transformers opens, with cxrgen.json beside the weights.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxrgen.data.conversations import read_conversations
from cxrgen.errors import InputError, UsageError
from cxrgen.files import write_json
from cxrgen.model.batches import Sample, batch_order, collate
from cxrgen.model.build import NewModel, new_model
from cxrgen.model.bundle import Bundle, load_bundle, save_bundle
from cxrgen.model.conversation import Format, encode
from cxrgen.model.features import given_features, in_slices, tower_features
from cxrgen.model.pixels import film_pixels
from cxrgen.progress import say, track
from cxrgen.records import Conversation, Study, read_studies
from cxrgen.text.places import placed_labels
from cxrgen.text.prompts import IMAGE, study_conversation
from cxrgen.train.arguments import Arguments, resolve
from cxrgen.train.arguments import add_arguments as add_argument_flags
from cxrgen.train.trainer import FitSettings, fit
from cxrgen.train.warmup import WarmupSettings, warm_up_tower

MODES = {  # what is trained: prefixes of parameter names of LlavaForConditionalGeneration
    "projector": ("model.multi_modal_projector",),
    "projector+llm": ("model.multi_modal_projector", "model.language_model", "lm_head"),
    "full": ("",),
}
_EXAMPLES = """examples:
  cxrgen train tiny --data_path prepared --output_dir model
  cxrgen train tiny --data_path prepared --output_dir model --max_steps 1500 --seed 7
  torchrun --nproc_per_node=8 -m cxrgen train --model_name_or_path llava-med --data_path prepared --output_dir model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    add_argument_flags(parser)


def run(options: argparse.Namespace) -> int:
    arguments = resolve(options)
    train(arguments)
    print(arguments.output_dir)
    return 0


def train(arguments: Arguments) -> list[float]:
    """The whole run: data, model, warm-ups, training, checkpoint. Returns the training loss of each step."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    data = Path(arguments.data_path)
    studies = read_studies(data, "train") if data.is_dir() else []
    folder = Path(arguments.image_folder) if arguments.image_folder else (data if data.is_dir() else data.parent)
    variants = _conversations(arguments, studies, data)
    if not variants:
        raise InputError(f"{data}: no study with a report in split train; nothing to learn from")
    bundle = _start(arguments, variants)
    start = time.monotonic()
    if arguments.tower_steps:
        _warm_up(arguments, bundle, [study for study in studies if study.report is not None], folder)
    if arguments.text_steps:
        texts = [[_encoded(bundle, _without_images(each[0]))] for each in variants]
        settings = replace(_settings(arguments, len(texts)), steps=arguments.text_steps, warmup_steps=10)
        _fit(arguments, bundle, texts, settings, lambda path: torch.empty(0))
    samples = [[_encoded(bundle, conversation) for conversation in each] for each in variants]
    history = _train_on_films(arguments, bundle, samples, _settings(arguments, len(samples)), folder)
    save_bundle(Path(arguments.output_dir), bundle)
    record = {"arguments": asdict(arguments), "samples": len(samples), "loss": [round(loss, 6) for loss in history]}
    write_json(Path(arguments.output_dir) / "training.json", record)
    say(f"trained on {len(samples)} studies in {time.monotonic() - start:.0f} s")
    return history


def _conversations(arguments: Arguments, studies: Sequence[Study], data: Path) -> list[list[Conversation]]:
    """Each study as the conversations it may appear in: as asked for, and with its frontals only under view dropout."""
    if not data.is_dir():
        conversations, rejects = read_conversations(data)
        if rejects:
            say(f"{len(rejects)} items left out; the first: {rejects[0].row}: {rejects[0].code}, {rejects[0].hint}")
        return [[each] for each in conversations if len(each.turns) > 1]
    variants = []
    for study in studies:
        if study.report is None:
            continue
        full = study_conversation(study, arguments.views)
        frontal = study_conversation(study, "frontal")
        fewer = arguments.view_dropout > 0 and 0 < len(frontal.images) < len(full.images)
        variants.append([full, frontal] if fewer else [full])
    return variants


def _start(arguments: Arguments, variants: Sequence[Sequence[Conversation]]) -> Bundle:
    if arguments.model_name_or_path:
        return load_bundle(Path(arguments.model_name_or_path))
    sizes = NewModel(
        image_size=arguments.image_size,
        image_tokens=arguments.image_tokens,
        vocabulary=arguments.vocabulary,
        layers=arguments.layers,
        hidden_size=arguments.hidden_size,
        heads=arguments.heads,
    )
    texts = [turn.text for each in variants for turn in each[0].turns]
    model, processor = new_model(sizes, texts, arguments.seed)
    return Bundle(model, processor, Format(template="plain", image_tokens=sizes.image_tokens, aspect="black"))


def _warm_up(arguments: Arguments, bundle: Bundle, studies: Sequence[Study], folder: Path) -> None:
    if arguments.warmup_labels not in ("rule", "dataset") or not studies:
        raise UsageError("--tower-steps needs --warmup-labels rule or dataset, and a prepared folder as --data-path")
    if arguments.warmup_labels == "rule":
        labels = [placed_labels(study.report or "") for study in studies]
    else:
        labels = [study.labels or {} for study in studies]
    settings = WarmupSettings(
        steps=arguments.tower_steps,
        batch_size=arguments.tower_batch_size,
        learning_rate=arguments.tower_learning_rate,
        seed=arguments.seed,
    )
    warm_up_tower(bundle, studies, labels, folder, settings)


def _train_on_films(
    arguments: Arguments, bundle: Bundle, samples: Sequence[Sequence[Sample]], settings: FitSettings, folder: Path
) -> list[float]:
    """The main stage, from film files or from features of the frozen tower that are computed once."""
    image_processor, aspect = bundle.processor.image_processor, bundle.format.aspect
    if not arguments.cache_features:
        return _fit(
            arguments, bundle, samples, settings, lambda path: film_pixels([folder / path], image_processor, aspect)[0]
        )
    paths = sorted({path for variants in samples for sample in variants for path in sample.images})
    features: dict[str, torch.Tensor] = {}
    slices = list(in_slices(paths, 64))
    bundle.model.eval()
    for some in track(slices, "vision features", len(slices)):
        with torch.no_grad():
            pixels = film_pixels([folder / path for path in some], image_processor, aspect)
            features.update(zip(some, tower_features(bundle.model, pixels)))
    with given_features(bundle.model):
        return _fit(arguments, bundle, samples, settings, features.__getitem__)


def _fit(
    arguments: Arguments,
    bundle: Bundle,
    samples: Sequence[Sequence[Sample]],
    settings: FitSettings,
    image_of: Callable[[str], torch.Tensor],
) -> list[float]:
    losses = [0.0]
    count = settings.steps * settings.accumulation
    batches = islice(_batches(arguments, samples, bundle.tokenizer.pad_token_id, image_of), count)
    stage = "training" if samples[0][0].images else "learning to spell"
    tracked = track(batches, stage, count, lambda: f"loss {losses[-1]:.3f}")
    return fit(bundle.model, tracked, settings, lambda step, loss, rate: losses.append(loss))


def _batches(
    arguments: Arguments,
    samples: Sequence[Sequence[Sample]],
    pad: int,
    image_of: Callable[[str], torch.Tensor],
) -> Iterator[dict[str, Any]]:
    """Batches for ever, epoch after epoch; a sample's variant is drawn anew in each epoch."""
    epoch = 0
    while True:
        generator = np.random.default_rng([arguments.seed, epoch, 1])
        fewer = generator.random(len(samples)) < arguments.view_dropout
        shown = [variants[-1] if drop else variants[0] for variants, drop in zip(samples, fewer)]
        lengths = [len(sample.input_ids) for sample in shown]
        for indices in batch_order(lengths, arguments.per_device_train_batch_size, arguments.seed, epoch):
            yield collate([shown[index] for index in indices], pad, image_of)
        epoch += 1


def _settings(arguments: Arguments, samples: int) -> FitSettings:
    if arguments.train_modules not in MODES:
        raise UsageError(f"--train-modules {arguments.train_modules}: there are {', '.join(MODES)}")
    a_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    steps = arguments.max_steps
    if steps < 0:
        steps = max(1, round(arguments.num_train_epochs * samples / a_step))
    return FitSettings(
        steps=steps,
        learning_rate=arguments.learning_rate,
        warmup_steps=math.ceil(arguments.warmup_ratio * steps),
        schedule=arguments.lr_scheduler_type,
        weight_decay=arguments.weight_decay,
        clip_norm=arguments.max_grad_norm,
        accumulation=arguments.gradient_accumulation_steps,
        train=MODES[arguments.train_modules],
        bf16=arguments.bf16,
    )


def _encoded(bundle: Bundle, conversation: Conversation) -> Sample:
    ids, labels = encode(conversation.turns, bundle.tokenizer, bundle.format)
    return Sample(conversation.id, tuple(ids), tuple(labels), conversation.images)


def _without_images(conversation: Conversation) -> Conversation:
    """The same words with no film: what a new language model learns to spell from."""
    turns = tuple(replace(turn, text=turn.text.replace(IMAGE, "")) for turn in conversation.turns)
    return replace(conversation, turns=turns, images=())
