"""The twelve golden pairs and what the reference packages answered on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"


def golden_json(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def _reports(name: str) -> list[str]:
    with open(GOLDEN / name, encoding="utf-8", newline="") as file:
        return [row["report"] for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def hypotheses() -> list[str]:
    return _reports("predictions.csv")


@pytest.fixture(scope="session")
def references() -> list[str]:
    return _reports("references.csv")


@pytest.fixture(scope="session")
def per_pair() -> dict[str, Any]:
    return dict(golden_json("lexical_per_pair.json")["per_pair"])


@pytest.fixture(scope="session")
def micro() -> dict[str, Any]:
    return dict(golden_json("micro_examples.json"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a made-up radeval on the path of the processes that look for the real one."""
    folder = Path(__file__).parent / "radeval_stand_in"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder
