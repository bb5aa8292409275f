"""The flags of `cxrgen evaluate` that bring weights, and the metrics they ask for.

No metric with weights is measured unless asked for: by its name in --metrics, or by the flag that brings its weights
and nothing else (--chexbert, --encoder). Weights are files at hand; nothing is fetched from a network here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.metrics.embedding.bertscore import is_distilroberta

RADEVAL = ("radgraph", "radgraph_combined", "ratescore", "green", "srr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags = parser.add_argument_group("weights", "files and programs of the metrics that cannot do without")
    flags.add_argument("--chexbert", type=Path, metavar="FILE", help="chexbert.pth: CheXbert's labels and similarity")
    flags.add_argument(
        "--encoder", type=Path, metavar="DIR", help="distilroberta-base: bertscore; another one: bertscore_encoder"
    )
    flags.add_argument(
        "--encoder-layer",
        type=int,
        metavar="N",
        help="layer of --encoder, counted from 1 (default: the last); with this and the next two the score is "
        "bertscore_encoder, whatever the encoder",
    )
    flags.add_argument(
        "--encoder-idf", action="store_true", help="weigh each token by its rarity among the references being scored"
    )
    flags.add_argument(
        "--encoder-baseline",
        type=Path,
        metavar="TSV",
        help="rescale by this table of baselines as bert-score ships it: LAYER,P,R,F",
    )
    flags.add_argument(
        "--radeval",
        type=Path,
        metavar="PYTHON",
        help=f"the Python that has radeval, for --metrics {','.join(RADEVAL)} (default: this one)",
    )
    flags.add_argument("--cache", type=Path, metavar="DIR", help="keep BERTScore's vectors of the references here")


def settings(options: argparse.Namespace, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each metric that needs weights is called with, by the metric's name; `metrics` are those chosen by name.

    distilroberta-base always gives `bertscore` as it is defined; with a layer, idf or baseline of the user's it gives
    `bertscore_encoder` beside it. Raises UsageError for a flag that no metric would use, and InputError for an encoder
    folder without config.json.
    """
    found: dict[str, dict[str, Any]] = {}
    if options.chexbert is not None:
        presets = [name for name in metrics if name.startswith("chexbert.")]
        found |= {name: {"checkpoint": options.chexbert} for name in ("chexbert", *presets)}
    of_encoder = _of_encoder(options)
    if options.encoder is not None:
        plain = {"encoder": options.encoder}
        real = is_distilroberta(options.encoder)
        found |= {"bertscore": plain} if real else {}
        found |= {"bertscore_encoder": plain | of_encoder} if of_encoder or not real else {}
    elif of_encoder:
        raise UsageError(
            f"--encoder-{next(iter(of_encoder))} is a setting of the encoder; give its folder with --encoder"
        )
    if options.cache is not None:
        scored = [name for name in {*found, *metrics} if name.startswith("bertscore")]
        if not scored:
            raise UsageError("--cache keeps vectors of BERTScore; ask for it with --encoder or --metrics")
        for name in scored:
            found.setdefault(name, {})["cache"] = options.cache
    if options.radeval is not None:
        parts = ("radgraph_combined",) if "radcliq" in metrics else ()
        served = [name for name in RADEVAL if name in (*metrics, *parts)]
        if not served:
            raise UsageError(f"--radeval serves {', '.join(RADEVAL)}, radcliq; name those to measure with --metrics")
        found |= {name: {"python": options.radeval} for name in served}
    if "radcliq" in metrics:  # made of other metrics, with their settings
        found["radcliq"] = {"settings": dict(found)}
    return found


def _of_encoder(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of `bertscore_encoder` that were asked for, by the end of their flag's name."""
    given = {"layer": options.encoder_layer, "idf": options.encoder_idf or None, "baseline": options.encoder_baseline}
    return {name: value for name, value in given.items() if value is not None}
