"""The finding table: what is truly there in a synthetic study. Images and reports are made from it, never the reverse.

Findings are drawn independently of each other, of wording, of view names and of ids, so that nothing but the films can
tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDES = ("right", "left")
SIZES = ("small", "moderate", "large")
LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "lingula", "left lower lobe")
NAMES = ("cardiomegaly", "effusion", "pneumothorax", "opacity")
_SHARES = {"cardiomegaly": 0.4, "effusion": 0.4, "pneumothorax": 0.35, "opacity": 0.45}


@dataclass(frozen=True)
class Findings:
    """One study's truth; "" means absent."""

    cardiomegaly: bool = False
    effusion: str = ""  # side
    effusion_size: str = ""
    pneumothorax: str = ""  # side
    opacity: str = ""  # lobe


def draw_findings(generator: np.random.Generator) -> Findings:
    """A random table; each finding is present with its fixed share, on either side and in any lobe alike."""
    present = {name: generator.random() < share for name, share in _SHARES.items()}
    effusion_side, pneumothorax_side = (str(generator.choice(SIDES)) for _ in range(2))
    size, lobe = str(generator.choice(SIZES)), str(generator.choice(LOBES))
    return Findings(
        cardiomegaly=bool(present["cardiomegaly"]),
        effusion=effusion_side if present["effusion"] else "",
        effusion_size=size if present["effusion"] else "",
        pneumothorax=pneumothorax_side if present["pneumothorax"] else "",
        opacity=lobe if present["opacity"] else "",
    )


COLUMNS = (
    "cardiomegaly",
    "effusion",
    "effusion_side",
    "effusion_size",
    "pneumothorax",
    "pneumothorax_side",
    "opacity",
    "opacity_lobe",
)


def as_row(findings: Findings) -> dict[str, str]:
    """The table as cells of findings.csv: 1 or 0 for a finding, words for its attributes, "" where absent."""
    return {
        "cardiomegaly": str(int(findings.cardiomegaly)),
        "effusion": str(int(bool(findings.effusion))),
        "effusion_side": findings.effusion,
        "effusion_size": findings.effusion_size,
        "pneumothorax": str(int(bool(findings.pneumothorax))),
        "pneumothorax_side": findings.pneumothorax,
        "opacity": str(int(bool(findings.opacity))),
        "opacity_lobe": findings.opacity,
    }
