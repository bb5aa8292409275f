"""The finding table: what is truly there in a synthetic study. Images and reports are made from it, never the reverse.

Findings are drawn independently of each other, of wording, of view names and of ids, so that nothing but the images can
tell them. A table holds words only, all of which a report can state; the numbers behind the words (how deep the fluid
stands, how wide the heart is) are an `Extent`. Patients with several studies keep their table except for effusion and
opacity, whose change is drawn independently of what the later study shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cxrgen.phantom.rng import bernoulli, pick, uniform

SIDES = ("right", "left")
SIZES = ("small", "moderate", "large")
RIMS = ("small", "large")
LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "lingula", "left lower lobe")
CAUSES = ("pneumonia", "contusion")
CHANGES = ("new", "increased", "decreased", "unchanged", "resolved")
DISTANCES = tuple(f"{half / 2:.1f}" for half in range(2, 15))  # cm from the tip of the ET tube to the carina

SHARES = {  # how often each finding is present
    "cardiomegaly": 0.40,
    "effusion": 0.40,
    "pneumothorax": 0.35,
    "opacity": 0.45,
    "edema": 0.35,
    "nodule": 0.40,
    "atelectasis": 0.35,
    "hyperinflation": 0.30,
    "fracture": 0.30,
    "et_tube": 0.35,
    "central_line": 0.35,
    "pacemaker": 0.30,
    "chest_tube": 0.30,
    "sternal_wires": 0.35,
}
NAMES = tuple(SHARES)
DEVICES = ("et_tube", "central_line", "pacemaker", "chest_tube", "sternal_wires")
NINE = ("cardiomegaly", "effusion", "pneumothorax", "opacity", "edema", "nodule", "atelectasis", "et_tube", "pacemaker")
SIDED = ("effusion", "pneumothorax", "nodule", "atelectasis", "fracture", "central_line", "chest_tube")
CHANGING = ("effusion", "opacity")

_NEW, _UNCHANGED = 0.25, 0.35  # shares among present findings of a study with a prior; the rest of an effusion's: half
# larger, half smaller. Resolved is as frequent as new, so that shares are the same in priors.
_FLUID = {"small": (0.13, 0.18), "moderate": (0.27, 0.36), "large": (0.46, 0.58)}
_FLUID_STEPS = (0.22, 0.41)  # between small and moderate, moderate and large
_FLUID_RANGE = (0.05, 0.75)  # an earlier effusion is half way from the later one to an end
_RIM = {"small": (0.08, 0.115), "large": (0.14, 0.19)}
_HEART, _HEART_BORDERLINE, _HEART_LARGE = (0.40, 0.47), (0.48, 0.53), (0.56, 0.68)
_BORDERLINE_SHARE = 0.06  # of hearts that are not enlarged


@dataclass(frozen=True)
class Findings:
    """One study's truth; "" means absent, or for a cause and a change: not known."""

    cardiomegaly: bool = False
    effusion: str = ""  # side
    effusion_size: str = ""
    effusion_change: str = ""
    pneumothorax: str = ""  # side
    pneumothorax_size: str = ""
    opacity: str = ""  # lobe
    opacity_change: str = ""
    opacity_cause: str = ""  # what the indication makes of it; the images are the same for both causes
    edema: bool = False
    nodule: str = ""  # side
    atelectasis: str = ""  # side
    hyperinflation: bool = False
    fracture: str = ""  # side
    et_tube: str = ""  # cm from tip to carina
    central_line: str = ""  # side
    pacemaker: bool = False
    chest_tube: str = ""  # side
    sternal_wires: bool = False


@dataclass(frozen=True)
class Extent:
    """The numbers behind the words of a table; lengths in scene units (1 = 180 mm)."""

    heart: float  # width of the heart over that of the thorax
    fluid: float  # depth of an effusion above the edge of the diaphragm
    rim: float  # of a pneumothorax


def draw_findings(generator: np.random.Generator) -> Findings:
    """A random table; each finding is present with its share, on either side, in any lobe and of any size alike."""
    there = {name: bernoulli(generator, share) for name, share in SHARES.items()}
    side = {name: pick(generator, SIDES) for name in SIDED}
    size, rim = pick(generator, SIZES), pick(generator, RIMS)
    lobe, distance = pick(generator, LOBES), pick(generator, DISTANCES)
    words = {name: side[name] if there[name] else "" for name in SIDED}
    return Findings(
        **words,
        cardiomegaly=there["cardiomegaly"],
        effusion_size=size if there["effusion"] else "",
        pneumothorax_size=rim if there["pneumothorax"] else "",
        opacity=lobe if there["opacity"] else "",
        edema=there["edema"],
        hyperinflation=there["hyperinflation"],
        et_tube=distance if there["et_tube"] else "",
        pacemaker=there["pacemaker"],
        sternal_wires=there["sternal_wires"],
    )


def draw_extent(findings: Findings, generator: np.random.Generator) -> Extent:
    """Numbers that fit the table's words."""
    borderline = bernoulli(generator, _BORDERLINE_SHARE)
    heart = _HEART_LARGE if findings.cardiomegaly else _HEART_BORDERLINE if borderline else _HEART
    return Extent(
        heart=uniform(generator, *heart),
        fluid=uniform(generator, *_FLUID[findings.effusion_size or SIZES[0]]),
        rim=uniform(generator, *_RIM[findings.pneumothorax_size or RIMS[0]]),
    )


def is_borderline(extent: Extent) -> bool:
    return _HEART_BORDERLINE[0] <= extent.heart <= _HEART_BORDERLINE[1]


def draw_prior(findings: Findings, extent: Extent, generator: np.random.Generator) -> tuple[Findings, Findings, Extent]:
    """The later table with its changes filled in, then the earlier study's table and extent.

    Time runs backwards here: what the later study shows is drawn first and its change independently of that, so that
    nothing but the earlier study can tell the change.
    """
    fresh = draw_findings(generator)
    fluid, fluid_size = uniform(generator, *_FLUID[pick(generator, SIZES)]), ""
    ratio = uniform(generator, 0.97, 1.03)
    changes = {name: _change(name, bool(getattr(findings, name)), generator) for name in CHANGING}
    if changes["effusion"] == "unchanged":
        fluid = extent.fluid * ratio
    elif changes["effusion"] in ("increased", "decreased"):
        fluid = (extent.fluid + _FLUID_RANGE[changes["effusion"] == "decreased"]) / 2
    effusion = _before(changes["effusion"], findings.effusion, pick(generator, SIDES))
    if effusion:
        fluid_size = SIZES[sum(fluid > step for step in _FLUID_STEPS)]
    before = replace(
        findings,
        effusion=effusion,
        effusion_size=fluid_size,
        opacity=_before(changes["opacity"], findings.opacity, fresh.opacity or pick(generator, LOBES)),
        opacity_cause="",
    )
    later = replace(findings, effusion_change=changes["effusion"], opacity_change=changes["opacity"])
    return later, before, replace(extent, fluid=fluid)


def _change(name: str, present: bool, generator: np.random.Generator) -> str:
    chance = generator.random()
    if not present:
        return "resolved" if chance < _NEW * SHARES[name] / (1 - SHARES[name]) else ""
    if chance < _NEW:
        return "new"
    if name != "effusion" or chance < _NEW + _UNCHANGED:
        return "unchanged"
    return "increased" if chance < _NEW + _UNCHANGED + (1 - _NEW - _UNCHANGED) / 2 else "decreased"


def _before(change: str, now: str, other: str) -> str:
    return "" if change == "new" else other if change == "resolved" else now


_DETAILS = {
    "effusion": ("side", "size", "change"),
    "pneumothorax": ("side", "size"),
    "opacity": ("lobe", "change", "cause"),
    "et_tube": ("cm",),
} | {name: ("side",) for name in SIDED if name not in ("effusion", "pneumothorax")}
COLUMNS = tuple(
    column for name in NAMES for column in (name, *(f"{name}_{detail}" for detail in _DETAILS.get(name, ())))
)


def as_row(findings: Findings) -> dict[str, str]:
    """The table as cells of findings.csv: 1 or 0 for a finding, words for its details, "" where absent."""
    row = {}
    for name in NAMES:
        value = getattr(findings, name)
        row[name] = str(int(bool(value)))
        for detail in _DETAILS.get(name, ()):
            row[f"{name}_{detail}"] = (
                value if detail in ("side", "lobe", "cm") else getattr(findings, f"{name}_{detail}")
            )
    return row
