"""One run of `cxrgen prepare`: read the source, choose studies, store their images, write tables and card.

Each step is a function of another file of this room; this one puts them in order, holds the folder's lock and says what
came out.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cxrgen.core.encodings import known_encoding
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.folders import locked, require_space
from cxrgen.core.progress import say
from cxrgen.imaging.view_classifier import PACKAGED
from cxrgen.prepare.card.page import write_card
from cxrgen.prepare.card.tokens import Tokens, read_tokenizer
from cxrgen.prepare.image_store import ImageJob, ImageOptions, StoredImage
from cxrgen.prepare.pipeline import Selection, Settings, before_images, image_jobs
from cxrgen.prepare.private_texts import cleaned_sections
from cxrgen.prepare.pseudonyms import pseudonymise, read_key, without_names
from cxrgen.prepare.resume import recorded_options, refuse_to_mix, remove_unused
from cxrgen.prepare.store_images import JOURNAL, bytes_needed, store_images, write_stored
from cxrgen.prepare.stored_views import after_images
from cxrgen.prepare.summary import codes, plan, print_result, shown_columns
from cxrgen.prepare.write import input_hashes, write_recipe, write_set
from cxrgen.sources import SOURCES, Found, SourceOptions, detect_source, own_options, read
from cxrgen.sources.column_table import describe_table, lines_of
from cxrgen.sources.text_table import add_texts


def prepare_set(options: argparse.Namespace, defaults: Mapping[str, Any]) -> int:
    """Prepare a set as the parsed flags say, whose `defaults` an older set may lack; returns the exit code."""
    if not 0 <= options.valid_share + options.test_share < 1 or min(options.valid_share, options.test_share) < 0:
        raise UsageError("--valid-share and --test-share are at least 0 and together below 1")
    if options.size < 16 or options.workers < 1 or options.max_words < 0:
        raise UsageError("--size is at least 16, --workers at least 1, --max-words at least 0")
    if options.encoding and not known_encoding(options.encoding):
        raise UsageError("--encoding is no code page that is known; write utf-8, cp1252, cp1251, gbk, shift_jis, ...")
    if options.views_by not in ("", PACKAGED):
        options.views_by = os.path.abspath(options.views_by)  # processes elsewhere open it too
    out: Path = options.out
    private = bool(options.pseudonyms)
    burnt_in = options.burnt_in if private else "take"
    image_options = ImageOptions(
        options.size, options.rendering, options.max_pixels, options.strict, private, burnt_in, options.views_by
    )
    settings = Settings(**{name: getattr(options, name) for name in asdict(Settings())})
    tokens = read_tokenizer(options.tokenizer) if options.tokenizer else None
    kind, reason = detect_source(options.source, options.kind)
    recorded = recorded_options(options, kind)
    if not options.dry_run:
        refuse_to_mix(out, recorded, defaults, options.force)
    say(f"{options.source}: {kind} ({reason})")
    if options.dry_run and (columns := _columns(options, kind)):
        print("\n".join(columns), flush=True)
    found = _read(options, kind)
    cleaned, remarks = cleaned_sections(found, options.keep_sections) if options.pseudonyms else ({}, [])
    selection = before_images(found, settings, cleaned)
    selection.notes += remarks
    if not selection.studies:
        raise InputError(f"{options.source}: not one study can be used{codes(selection)}")
    key = read_key(options.pseudonyms, out) if options.pseudonyms else None
    if key:
        selection.studies = pseudonymise(selection.studies, key)
        selection.rejects = without_names(selection.rejects, key)
    jobs = image_jobs(selection.studies, bool(options.views_by))
    for note in selection.notes:
        say(f"  {note}")
    if options.dry_run:
        shown = shown_columns(found.columns, options.map, options.show_values)
        print(plan(shown, selection, jobs, out, image_options, options.workers, options.show_values))
        return 0
    require_space(out, bytes_needed(jobs, options.size))
    with _writing(out), locked(out, "wait for it, or give another --out"):
        refuse_to_mix(out, recorded, defaults, options.force)  # again, since another run may have ended meanwhile
        if options.force:  # only now, when the source has proved to be usable
            shutil.rmtree(out / "images", ignore_errors=True)
            (out / JOURNAL).unlink(missing_ok=True)
        images = store_images(jobs, out, image_options, options.workers, recorded, options.engine)
        notes, rejects = len(selection.notes), len(selection.rejects)
        after_images(selection, images, settings)
        if key:
            selection.rejects[rejects:] = without_names(selection.rejects[rejects:], key, ids=False)
        for note in selection.notes[notes:]:
            say(f"  {note}")
        if not selection.studies:
            raise InputError(f"{options.source}: not one study can be used{codes(selection)}")
        _finish(options, found, selection, jobs, images, recorded, tokens)
    print_result(selection, out, options.max_rejects, options.json)
    return 0


def _read(options: argparse.Namespace, kind: str) -> Found:
    if options.text_file and os.path.isdir(options.text_file):
        raise UsageError(
            f"--text-file {options.text_file}: a folder; give a CSV with study_id and report, findings or impression"
        )
    source_options = SourceOptions(
        image_folder=options.image_folder,
        text_file=options.text_file,
        columns=_mapping(options.map),
        section_style=options.section_style,
        on_duplicate=options.on_duplicate,
        encoding=options.encoding,
        own=_own_options(options, kind),
    )
    found = read(kind, options.source, source_options)
    if options.text_file and options.text_file not in found.files:
        found = add_texts(found, options.text_file, replace(source_options, columns={}))
    return found


def _columns(options: argparse.Namespace, kind: str) -> list[str]:
    """The table of columns that a dry run shows, of the table of texts or of the source; [] where it has none."""
    path = options.text_file or (options.source if kind in ("table", "course", "dicom") else None)
    described = describe_table(path, _mapping(options.map), options.encoding) if path else []
    return lines_of(described, options.show_values) if described else []


def _own_options(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The options that this kind of source declares. Raises UsageError for one of another kind."""
    own = own_options(kind)
    for other in SOURCES:
        for name, default in own_options(other).items():
            if name not in own and getattr(options, name) != default:
                raise UsageError(f"--{name.replace('_', '-')} is an option of {other} sources; this one is {kind}")
    return {name: getattr(options, name) for name in own}


def _mapping(words: list[str]) -> dict[str, str]:
    mapping = {}
    for word in words:
        name, equals, column = word.partition("=")
        if not equals or not name or not column:
            raise UsageError("--map: write FIELD=COLUMN, for instance findings=Befund")
        mapping[name] = column
    return mapping


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """What the system refuses while a set is written, in one line; what was written so far is continued."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}; make room or choose another --out, then run again") from None


def _finish(
    options: argparse.Namespace,
    found: Found,
    selection: Selection,
    jobs: list[ImageJob],
    images: dict[str, StoredImage],
    recorded: Mapping[str, Any],
    tokens: Tokens | None,
) -> None:
    """Write the tables and the card, then remove images of no study; the journal goes last into its final order."""
    out: Path = options.out
    write_set(out, selection.studies, selection.rejects, options.prompt)
    stored = [images[key] for key in sorted({job.key for job in jobs})]
    recipe = write_recipe(out, recorded, input_hashes(found, (options.source, options.text_file), stored))
    write_card(out, selection, [images[job.key] for job in jobs], recipe, tokens)
    used = {view.path for study in selection.studies for view in study.views}
    remove_unused(out, used)
    write_stored(out / JOURNAL, recorded, [image for image in stored if image.path in used or image.code])
