"""The forms of other tools: one row a tool in `FORMS`, each a function that writes the files of all splits.

    ms-swift        train.jsonl, ...: {"messages": [...], "images": [...]}, `<image>` in the text for each image
    llama-factory   train.json, ... with dataset_info.json: the same, as its `sharegpt` form with roles
    trl             data/train-....parquet: "messages" of typed parts (image, text), "images" as pictures
    hf-datasets     data/train-....parquet: "images" as pictures, sections, views, report, messages of plain text
    llava           train.json, ...: {"id", "image", "conversations"}

Parquet files carry the feature types that `datasets` reads, so its image columns decode to pictures. Splits are called
train, validation and test there, as `datasets` finds them by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import replacing, write_json, write_text
from cxrgen.core.records import SPLITS, Conversation, Study
from cxrgen.prepare.image_store import stored_bytes
from cxrgen.text.llava_json import llava_item
from cxrgen.text.prompts import IMAGE, PromptRule, priors_by_rule, study_conversation

_ROLES = {"human": "user", "assistant": "assistant"}
_SECTIONS = ("indication", "history", "technique", "comparison", "findings", "impression")
_HF_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_ROWS_A_GROUP = 100  # of a Parquet file: images are large


@dataclass(frozen=True)
class Exported:
    """A study on its way out: its conversation, whose images are paths that the reader of the export can open."""

    study: Study
    conversation: Conversation
    sha256: tuple[str, ...]  # of these images as they were prepared; "" where that is unknown


@dataclass(frozen=True)
class Form:
    """How a tool's files are written."""

    write: Callable[[Path, Sequence[Exported]], None]
    needs_reports: bool = True  # every row is trained on
    holds_images: bool = False  # in the files themselves


def exported_rows(studies: Sequence[Study], prepared: Path, rule: PromptRule, with_reports: bool) -> list[Exported]:
    """A row for each study with images (and a report, `with_reports`), images as absolute paths.

    Raises InputError for an image that is gone.
    """
    priors = priors_by_rule(studies, rule)
    hashes = {view.path: view.sha256 for study in studies for view in study.views}
    rows = []
    for study in studies:
        if study.views and (study.report is not None or not with_reports):
            conversation = study_conversation(study, rule, priors.get(study.study_id))
            paths = tuple(str((prepared / name).resolve()) for name in conversation.images)
            gone = next((path for path in paths if not Path(path).is_file()), "")
            if gone:
                raise InputError(f"{gone}: no such image; prepare the set again")
            sha256 = tuple(hashes[name] for name in conversation.images)
            rows.append(Exported(study, replace(conversation, images=paths), sha256))
    return rows


def with_copied_images(rows: Sequence[Exported], folder: Path, out: Path) -> list[Exported]:
    """The rows with their images in `folder`, which will be called `out`."""
    copied = []
    for row in rows:
        names = []
        for path, sha256 in zip(map(Path, row.conversation.images), row.sha256):
            target = folder / "images" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.touch(mode=0o600)
                target.write_bytes(stored_bytes(path, sha256))
            names.append(str((out / target.relative_to(folder)).resolve()))
        copied.append(replace(row, conversation=replace(row.conversation, images=tuple(names))))
    return copied


def _splits(rows: Sequence[Exported]) -> Iterator[tuple[str, list[Exported]]]:
    """Each split that has rows."""
    for split in SPLITS:
        of_split = [row for row in rows if row.study.split == split]
        if of_split:
            yield split, of_split


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": _ROLES[turn.role], "content": turn.text} for turn in conversation.turns]


def _chat(row: Exported) -> dict[str, Any]:
    return {"messages": _messages(row.conversation), "images": list(row.conversation.images)}


def _write_swift(folder: Path, rows: Sequence[Exported]) -> None:
    for split, of_split in _splits(rows):
        lines = (json.dumps(_chat(row), ensure_ascii=False) for row in of_split)
        write_text(folder / f"{split}.jsonl", "\n".join(lines) + "\n", private=True)


def _write_factory(folder: Path, rows: Sequence[Exported]) -> None:
    described = {}
    for split, of_split in _splits(rows):
        write_json(folder / f"{split}.json", [_chat(row) for row in of_split], private=True)
        described[f"cxr_{split}"] = {
            "file_name": f"{split}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }
    write_json(folder / "dataset_info.json", described)


def _write_llava(folder: Path, rows: Sequence[Exported]) -> None:
    for split, of_split in _splits(rows):
        write_json(folder / f"{split}.json", [llava_item(row.conversation) for row in of_split], private=True)


# --- Parquet ---

_TEXT = {"dtype": "string", "_type": "Value"}
_IMAGES = {"feature": {"_type": "Image"}, "_type": "Sequence"}


def _pictures(row: Exported) -> list[dict[str, Any]]:
    paths = map(Path, row.conversation.images)
    return [{"bytes": stored_bytes(path, sha256), "path": path.name} for path, sha256 in zip(paths, row.sha256)]


def _parts(text: str) -> list[dict[str, str | None]]:
    """A turn as parts of type image and text, in its order."""
    parts: list[dict[str, str | None]] = []
    for number, piece in enumerate(text.split(IMAGE)):
        if number:
            parts.append({"type": "image", "text": None})
        if piece.strip():
            parts.append({"type": "text", "text": piece.strip("\n")})
    return parts


def _trl_row(row: Exported) -> dict[str, Any]:
    messages = [{"role": _ROLES[turn.role], "content": _parts(turn.text)} for turn in row.conversation.turns]
    return {"images": _pictures(row), "messages": messages}


_PART = {"type": _TEXT, "text": _TEXT}
_TRL_FEATURES = {"images": _IMAGES, "messages": [{"role": _TEXT, "content": [_PART]}]}


def _hub_row(row: Exported) -> dict[str, Any]:
    study = row.study
    view_of = {Path(view.path).name: view.view for view in study.views}
    return {
        "study_id": study.study_id,
        "subject_id": study.subject_id,
        "images": _pictures(row),
        "views": [view_of.get(Path(path).name, "prior") for path in row.conversation.images],
        **{name: study.sections.get(name) for name in _SECTIONS},
        "report": study.report,
        "messages": _messages(row.conversation),
    }


_HUB_FEATURES = {
    "study_id": _TEXT,
    "subject_id": _TEXT,
    "images": _IMAGES,
    "views": {"feature": _TEXT, "_type": "Sequence"},
    **dict.fromkeys((*_SECTIONS, "report"), _TEXT),
    "messages": [{"role": _TEXT, "content": _TEXT}],
}


def _arrow_type(feature: Any) -> Any:
    """Arrow's type of one of `datasets`' features."""
    import pyarrow as pa

    if isinstance(feature, list):
        return pa.list_(_arrow_type(feature[0]))
    kind = feature.get("_type")
    if kind == "Sequence":
        return pa.list_(_arrow_type(feature["feature"]))
    if kind == "Image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if kind == "Value":
        return pa.string()
    return pa.struct([(name, _arrow_type(each)) for name, each in feature.items()])


def _write_parquet(
    folder: Path,
    rows: Sequence[Exported],
    features: Mapping[str, Any],
    cells: Callable[[Exported], dict[str, Any]],
) -> None:
    """One file a split; images are read a group of rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([(name, _arrow_type(each)) for name, each in features.items()], metadata=metadata)
    for split, of_split in _splits(rows):
        with (
            replacing(folder / "data" / f"{_HF_SPLITS[split]}-00000-of-00001.parquet") as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for start in range(0, len(of_split), _ROWS_A_GROUP):
                group = [cells(row) for row in of_split[start : start + _ROWS_A_GROUP]]
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
            temporary.chmod(0o600)


FORMS: dict[str, Form] = {
    "ms-swift": Form(_write_swift),
    "llama-factory": Form(_write_factory),
    "trl": Form(lambda folder, rows: _write_parquet(folder, rows, _TRL_FEATURES, _trl_row), holds_images=True),
    "hf-datasets": Form(
        lambda folder, rows: _write_parquet(folder, rows, _HUB_FEATURES, _hub_row),
        needs_reports=False,
        holds_images=True,
    ),
    "llava": Form(_write_llava),
}
