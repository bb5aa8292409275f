"""Patients and their studies: which series a seed stands for, and everything of one study but its names.

A patient keeps body, places of lesions and devices, and the table but for effusion and opacity; each visit has its own
framing, grain and style. Every kind of draw has a generator of its own, so that none can tell of another. In the plain
style each patient has one study, without indication; in the follow-up style three, with one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cxrgen.phantom.findings import Findings, draw_extent, draw_findings, draw_prior, is_borderline
from cxrgen.phantom.rng import make_rng, pick, uniform
from cxrgen.phantom.scene import GreyImage, Scene, draw_body, draw_framing, draw_images
from cxrgen.phantom.structures import draw_places
from cxrgen.phantom.wording import Report, draw_style, word_report

VISITS = {1: 0.70, 2: 0.20, 3: 0.10}  # studies of a patient, and the share of patients
_FIXED_VISITS = {"plain": 1, "followup": 3}  # by style
FRONTALS, LATERALS = ("PA", "AP"), ("LATERAL", "LL")
_VISITS, _TABLE, _BODY, _FRAMING, _GRAIN, _STYLE, _NAMES, _CHANGE = range(8)  # one generator each


@dataclass(frozen=True)
class Drawn:
    """One synthetic study without its names."""

    scene: Scene
    frontal: GreyImage
    lateral: GreyImage
    report: Report
    raw_views: tuple[str, str]
    taken: datetime

    @property
    def findings(self) -> Findings:
        return self.scene.findings


def visits(seed: int, patient: int, style: str = "varied") -> int:
    """How many studies patient number `patient` has."""
    if style in _FIXED_VISITS:
        return _FIXED_VISITS[style]
    chance = make_rng(seed, patient, _VISITS).random()
    return 1 + (chance >= VISITS[1]) + (chance >= VISITS[1] + VISITS[2])


def draw_patient(seed: int, patient: int, size: int = 128, style: str = "varied") -> list[Drawn]:
    """The studies of one patient of the endless series that `seed` stands for, the earliest first."""
    scenes = draw_timeline(seed, patient, style)
    names = make_rng(seed, patient, _NAMES)
    taken = datetime(2100, 1, 1) + timedelta(minutes=int(uniform(names, 0, 90 * 365 * 24 * 60)))
    drawn = []
    for visit, scene in enumerate(scenes):
        wording = draw_style(make_rng(seed, patient, _STYLE, visit), style)
        if scene.findings.opacity and style != "plain":
            scene = replace(scene, findings=replace(scene.findings, opacity_cause=wording.indication_for))
        frontal, lateral, faint = draw_images(scene, size)
        report = word_report(scene.findings, wording, faint, _remarks(scene), prior=visit > 0)
        drawn.append(Drawn(scene, frontal, lateral, report, (pick(names, FRONTALS), pick(names, LATERALS)), taken))
        taken += timedelta(minutes=int(uniform(names, 24 * 60, 400 * 24 * 60)))
    return drawn


def draw_timeline(seed: int, patient: int, style: str = "varied") -> list[Scene]:
    """The scenes of a patient's studies, the earliest first; causes are not decided yet."""
    table = make_rng(seed, patient, _TABLE)
    findings = draw_findings(table)
    extent = draw_extent(findings, table)
    anatomy = make_rng(seed, patient, _BODY)
    body, places = draw_body(anatomy), draw_places(anatomy)
    scenes: list[Scene] = []
    for visit in reversed(range(visits(seed, patient, style))):
        before, earlier = findings, extent
        if visit:
            findings, before, earlier = draw_prior(findings, extent, make_rng(seed, patient, _CHANGE, visit))
        framing = draw_framing(make_rng(seed, patient, _FRAMING, visit))
        scenes.insert(0, Scene(findings, extent, places, body, framing, (seed, patient, _GRAIN, visit)))
        findings, extent = before, earlier
    return scenes


def _remarks(scene: Scene) -> list[str]:
    """What is true of the images, besides findings."""
    remarks = ["borderline"] if is_borderline(scene.extent) else []
    remarks += ["exposure"] if scene.framing.exposure > 1.12 else []
    return remarks + (["grain"] if scene.framing.noise > 0.018 else [])
