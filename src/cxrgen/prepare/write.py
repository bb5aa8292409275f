"""The files of a prepared set: studies.parquet, the splits as LLaVA JSON, rejects.csv and recipe.json.

Each is whole or not there, and the same input and options give the same bytes. Files that hold texts are readable by
their owner only.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cxrgen.core import __version__
from cxrgen.core.files import sha256_file, write_json
from cxrgen.core.records import SCHEMA_VERSION, SPLITS, Reject, Study, write_studies
from cxrgen.core.rejects import REJECTS, write_rejects
from cxrgen.prepare.image_store import StoredImage
from cxrgen.sources import PUBLISHED_NAMES, Found
from cxrgen.text.llava_json import llava_item
from cxrgen.text.prompts import PromptRule, priors_by_rule, study_conversation


def write_set(out: Path, studies: Sequence[Study], rejects: Sequence[Reject], prompt: str) -> None:
    """studies.parquet, train.json, valid.json, test.json and rejects.csv."""
    write_studies(out / "studies.parquet", studies)
    (out / "studies.parquet").chmod(0o600)
    rule = PromptRule(prompt)
    priors = priors_by_rule(studies, rule)
    for split in SPLITS:
        items = [
            llava_item(study_conversation(study, rule, priors.get(study.study_id)))
            for study in studies
            if study.split == split and study.views and (study.report is not None or split == "test")
        ]
        write_json(out / f"{split}.json", items, private=True)
    write_rejects(out / REJECTS, rejects)


def write_recipe(out: Path, options: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """recipe.json: by what the set was made; returns it."""
    recipe = {
        "schema": SCHEMA_VERSION,
        "options": dict(options),
        "versions": {
            "cxrgen": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "pillow", "pyarrow", "pydicom")},
        },
        "inputs": dict(inputs),
    }
    write_json(out / "recipe.json", recipe, private=True)
    return recipe


def input_hashes(found: Found, typed: Collection[Path | None], images: Iterable[StoredImage]) -> dict[str, str]:
    """SHA-256 of what a set was made from: tables and archives by name, all texts as read, all images as stored.

    A file that the user did not type, and that is not one of a published set, goes by its number: its name may be a
    patient's.
    """
    names = {
        path: path.name if path in typed or PUBLISHED_NAMES.fullmatch(path.name) else f"(file {number})"
        for number, path in enumerate(found.files, 1)
    }
    texts = (
        json.dumps([study.study_id, sorted(study.sections.items())])
        for study in sorted(found.studies, key=lambda study: study.study_id)
    )
    return {
        **{names[path]: sha256_file(path) for path in found.files},
        "(all texts, as read)": _sha256(texts),
        "(all images, as stored)": _sha256(sorted(image.sha256 for image in images if image.sha256)),
    }


def _sha256(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
