"""The fourteen observations of CheXpert, and their values as CheXpert's and NegBio's tables write them."""

from __future__ import annotations

OBSERVATIONS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
_VALUES = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}


def label_value(text: str) -> int | None:
    """1 present, 0 absent, -1 uncertain; None where the observation is not mentioned or the value is another."""
    return _VALUES.get(text.strip())
