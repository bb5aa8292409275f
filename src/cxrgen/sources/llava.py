"""LLaVA conversations as a source: each item a study, its answer the report's findings.

An item is what its file makes of it: its id stays, and an item with several images is a study of several images. The
original's files hold one item an image, named {study}-{number}.png; such items of one study count as one patient, so
that no split tears them apart.
"""

from __future__ import annotations

from pathlib import Path

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import UNKNOWN, Conversation, Reject, View
from cxrgen.core.tables import read_json
from cxrgen.sources import ArgumentGroup, Found, SourceOptions
from cxrgen.sources.image_paths import Locate, locator
from cxrgen.sources.merge_rows import StudyRow, merge_rows
from cxrgen.sources.rows import image_study
from cxrgen.text.llava_json import read_conversations

_SPLITS = ("train", "valid", "test")
_SUFFIXES = (".json", ".jsonl")


def recognise(path: Path) -> str:
    """A .json or .jsonl file whose first item has conversations, or a folder with train.json and the like."""
    files = _files(path)
    if not files:
        return ""
    try:
        items = read_json(next(iter(files.values())))
    except InputError:
        return ""
    first = items[0] if isinstance(items, list) and items else items
    if not isinstance(first, dict) or not first.keys() & {"conversations", "conversatons"} or "reason" in first:
        return ""
    return "JSON with LLaVA conversations" + (
        "" if path.is_file() else f": {', '.join(f.name for f in files.values())}"
    )


def add_arguments(parser: ArgumentGroup) -> None:
    """None of its own."""


def read(path: Path, options: SourceOptions) -> Found:
    """All items; the split is the file's name where that is one."""
    rows: list[StudyRow] = []
    rejects: list[Reject] = []
    notes: list[str] = []
    for split, file in _files(path).items():
        conversations, left_out = read_conversations(file)
        rejects += left_out
        folders = [options.image_folder] if options.image_folder else [file.parent, file.parent / "images"]
        locate, remark = locator([name for item in conversations for name in item.images], folders)
        notes += [f"{file.name}: {remark}"] if remark else []
        for number, item in enumerate(conversations, 1):
            row_ref = f"{file.name}: item {number}"
            try:
                rows.append(_row(item, row_ref, split, locate))
            except RejectError as error:
                rejects.append(Reject(row_ref, item.id, error.code, error.hint))
    merged = merge_rows(rows, "llava", options.on_duplicate)
    notes += [f"{merged.repeats} items repeat others"] if merged.repeats else []
    columns = {"study_id": "id", "image": "image", "findings": "conversations"}
    return Found(merged.studies, rejects + merged.rejects, notes, columns, tuple(_files(path).values()))


def _files(path: Path) -> dict[str, Path]:
    if path.is_dir():
        files = {split: path / f"{split}.json" for split in _SPLITS}
        return {split: file for split, file in files.items() if file.is_file()}
    if path.suffix not in _SUFFIXES:
        return {}
    return {path.stem if path.stem in _SPLITS else "": path}


def _row(item: Conversation, row_ref: str, split: str, locate: Locate) -> StudyRow:
    if not item.images:
        raise RejectError("image-missing", "the item has no image; text alone is no study")
    views = tuple(View(str(locate(name)), UNKNOWN) for name in item.images)
    answer = next((turn.text for turn in item.turns if turn.role == "assistant"), "")
    sections = {"findings": answer} if answer.strip() else {}
    subject = image_study(item.images[0]) if Path(item.images[0]).stem == item.id else ""
    return StudyRow(row_ref, item.id, subject, split, views=views, sections=sections)
