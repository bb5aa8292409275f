"""Which score notices which mistake: made-up reports with one dangerous change each, scored by the chosen metrics.

Every case has a reference, a rewording with the same meaning, and a copy in which one thing is wrong: a
negation, a side, a severity, a device. A score notices the mistake when it rates the wrong copy below the harmless
rewording. Overlap scores prefer the wrong copy, because it shares more words; that is what this table is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrgen.evaluate.one_pass import called_with
from cxrgen.evaluate.scores import loss
from cxrgen.metrics import measure


@dataclass(frozen=True)
class Case:
    """`reworded` means what `reference` means; `changed` does not."""

    kind: str
    reference: str
    reworded: str
    changed: str


def _cases(kind: str, *rows: tuple[str, str, str]) -> tuple[Case, ...]:
    return tuple(Case(kind, *row) for row in rows)


CASES = (
    *_cases(
        "negation",
        (
            "There is a small pleural effusion on the left. The heart size is normal.",
            "Normal heart. Left-sided pleural fluid, small in amount.",
            "There is no pleural effusion on the left. The heart size is normal.",
        ),
        (
            "No pneumothorax is seen. The lungs are clear.",
            "Clear lungs without pneumothorax.",
            "Pneumothorax is seen. The lungs are clear.",
        ),
        (
            "The heart is enlarged. There is no edema.",
            "Cardiomegaly without edema.",
            "The heart is not enlarged. There is no edema.",
        ),
        (
            "No focal consolidation. No acute fracture.",
            "Neither consolidation nor a fracture is identified.",
            "Focal consolidation. No acute fracture.",
        ),
        (
            "Atelectasis is present at both bases. The mediastinum is normal.",
            "Normal mediastinum. Bibasilar atelectasis.",
            "Atelectasis is absent at both bases. The mediastinum is normal.",
        ),
        (
            "The lungs show no nodule. There is pulmonary edema.",
            "Edema of the lungs, but no evidence of a nodule.",
            "The lungs show a nodule. There is pulmonary edema.",
        ),
    ),
    *_cases(
        "side",
        (
            "Moderate right pleural effusion. The heart size is normal.",
            "Normal heart size. There is a right-sided effusion of moderate size.",
            "Moderate left pleural effusion. The heart size is normal.",
        ),
        (
            "There is a pneumothorax at the left apex.",
            "Left apical pneumothorax.",
            "There is a pneumothorax at the right apex.",
        ),
        (
            "Opacity in the right lower lobe suggests pneumonia.",
            "Findings suggest pneumonia: an opacity of the right lower lobe.",
            "Opacity in the left lower lobe suggests pneumonia.",
        ),
        (
            "Atelectasis at the left base. No effusion.",
            "No effusion. Left basilar atelectasis.",
            "Atelectasis at the right base. No effusion.",
        ),
        (
            "A nodule is seen in the right upper lobe.",
            "Right upper lobe nodule.",
            "A nodule is seen in the left upper lobe.",
        ),
        (
            "Healed fracture of a left rib. The lungs are clear.",
            "Clear lungs. Old left-sided rib fracture.",
            "Healed fracture of a right rib. The lungs are clear.",
        ),
    ),
    *_cases(
        "severity",
        (
            "There is mild pulmonary edema. No effusion.",
            "No effusion. Slight edema of the lungs.",
            "There is severe pulmonary edema. No effusion.",
        ),
        (
            "Tiny left apical pneumothorax.",
            "A minimal pneumothorax at the left apex.",
            "Large left apical pneumothorax.",
        ),
        (
            "The heart is mildly enlarged. The lungs are clear.",
            "Clear lungs. Slight cardiomegaly.",
            "The heart is massively enlarged. The lungs are clear.",
        ),
        (
            "Small right pleural effusion with adjacent atelectasis.",
            "Atelectasis next to a little right pleural fluid.",
            "Large right pleural effusion with adjacent atelectasis.",
        ),
        (
            "Minimal opacity at the left base.",
            "A subtle left basilar opacity.",
            "Dense opacity at the left base.",
        ),
        (
            "A small nodule in the right lung. No effusion.",
            "No effusion. Subcentimeter nodule on the right.",
            "A huge nodule in the right lung. No effusion.",
        ),
    ),
    *_cases(
        "device",
        (
            "The endotracheal tube ends above the carina. The lungs are clear.",
            "Clear lungs. Tip of the endotracheal tube superior to the carina.",
            "The feeding tube ends above the carina. The lungs are clear.",
        ),
        (
            "A right jugular line ends in the superior vena cava.",
            "Tip of the right internal jugular catheter in the SVC.",
            "A right jugular line ends in the right ventricle.",
        ),
        (
            "The pacemaker leads are intact. No effusion.",
            "No effusion. Intact leads of a pacemaker.",
            "The sternotomy wires are intact. No effusion.",
        ),
        (
            "The chest tube has been removed. No pneumothorax.",
            "No pneumothorax after removal of the chest tube.",
            "The chest tube has been placed. No pneumothorax.",
        ),
        (
            "The nasogastric tube ends in the stomach.",
            "Tip of the enteric tube in the stomach.",
            "The nasogastric tube ends in the right bronchus.",
        ),
        (
            "There is no support device. The heart is normal.",
            "Normal heart. No tubes or lines.",
            "There is a support device. The heart is normal.",
        ),
    ),
)
KINDS = tuple(dict.fromkeys(case.kind for case in CASES))


def noticed(
    metrics: Sequence[str], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, int]]:
    """Score name to kind of change to the number of cases noticed, for the metrics named; a NaN notices nothing."""
    texts = [case.reworded for case in CASES] + [case.changed for case in CASES]
    references = [case.reference for case in CASES] * 2
    result: dict[str, dict[str, int]] = {}
    for metric in metrics:
        measured = measure(metric, texts, references, **called_with(metric, settings))
        values = measured.per_study()
        for name, value in values.items():
            if not measured.is_single_finding(name):
                harmless, wrong = np.split(loss(value, measured.better(name)), 2)
                worse = wrong > harmless + 1e-9
                result[name] = {
                    kind: int(sum(hit for hit, case in zip(worse, CASES) if case.kind == kind)) for kind in KINDS
                }
    return result


def as_text(found: Mapping[str, Mapping[str, int]]) -> str:
    """The table as plain text."""
    cases = {kind: sum(case.kind == kind for case in CASES) for kind in KINDS}
    width = max(map(len, found), default=0) + 2
    lines = [f"{'notices a wrong':{width}}" + "".join(f"{kind:>10}" for kind in KINDS)]
    for name, kinds in found.items():
        lines.append(f"{name:{width}}" + "".join(f"{f'{kinds[kind]} of {cases[kind]}':>10}" for kind in KINDS))
    lines.append("A mistake is noticed when the wrong copy of a report scores below a harmless rewording of it.")
    return "\n".join(lines)
