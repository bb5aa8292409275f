"""The files of a prepared set: studies.parquet, the splits as LLaVA JSON, rejects.csv and recipe.json.

Each is whole or not there, and the same input and options give the same bytes. Files that hold texts are readable by
their owner only.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cxrgen
from cxrgen.data.films import StoredFilm
from cxrgen.data.sources import Found
from cxrgen.files import sha256_file, write_csv, write_json
from cxrgen.records import SCHEMA_VERSION, SPLITS, Conversation, Reject, Study, write_studies
from cxrgen.text.prompts import prior_reports, study_conversation

_SPEAKERS = {"human": "human", "assistant": "gpt"}


def write_set(out: Path, studies: Sequence[Study], rejects: Sequence[Reject], prompt: str) -> None:
    """studies.parquet, train.json, valid.json, test.json and rejects.csv."""
    write_studies(out / "studies.parquet", studies)
    (out / "studies.parquet").chmod(0o600)
    priors = prior_reports(studies, prompt)
    for split in SPLITS:
        items = [
            llava_item(study_conversation(study, prompt=prompt, prior=priors.get(study.study_id)))
            for study in studies
            if study.split == split and study.views
        ]
        write_json(out / f"{split}.json", items, private=True)
    rows = [(each.row, each.id, each.code, each.hint) for each in rejects]
    write_csv(out / "rejects.csv", ("row", "id", "code", "hint"), rows, private=True)


def llava_item(conversation: Conversation) -> dict[str, Any]:
    """A conversation as LLaVA writes it; `image` is a name for one film, a list for several."""
    images = list(conversation.images)
    turns = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in conversation.turns]
    return {"id": conversation.id, "image": images[0] if len(images) == 1 else images, "conversations": turns}


def write_recipe(out: Path, options: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """recipe.json: by what the set was made; returns it."""
    recipe = {
        "schema": SCHEMA_VERSION,
        "options": dict(options),
        "versions": {
            "cxrgen": cxrgen.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "pillow", "pyarrow", "pydicom")},
        },
        "inputs": dict(inputs),
    }
    write_json(out / "recipe.json", recipe)
    return recipe


def input_hashes(found: Found, films: Iterable[StoredFilm]) -> dict[str, str]:
    """SHA-256 of what a set was made from: tables and archives by name, all texts as read, all films as stored."""
    texts = (
        json.dumps([study.study_id, sorted(study.sections.items())])
        for study in sorted(found.studies, key=lambda each: each.study_id)
    )
    return {
        **{path.name: sha256_file(path) for path in found.files},
        "(all texts, as read)": _sha256(texts),
        "(all films, as stored)": _sha256(sorted(film.sha256 for film in films if film.sha256)),
    }


def _sha256(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
