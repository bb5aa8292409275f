"""The data card: card.json with the numbers, card.html to look at, what can mislead first.

The page shows images and sentences of the set, so it is as private as the set itself (mode 600).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.files import write_json, write_text
from cxrgen.core.records import SPLITS, Study
from cxrgen.html import (
    Bar,
    Html,
    Section,
    facts,
    histogram,
    image,
    note,
    number,
    paragraph,
    render,
    table,
    tag,
    whisker_chart,
)
from cxrgen.html.thumbnails import thumbnail
from cxrgen.prepare.card.images import images_by_source
from cxrgen.prepare.card.numbers import card_numbers, frequent_sentences
from cxrgen.prepare.card.tokens import Tokens
from cxrgen.prepare.image_store import StoredImage
from cxrgen.prepare.pipeline import Selection

_SHOWN = 4  # studies a split
_IMAGE = 200  # pixels, longest side
_SHARES = {"with a report", "with a lateral", "with a prior"}


def write_card(
    out: Path, selection: Selection, images: Sequence[StoredImage], recipe: dict[str, Any], tokens: Tokens | None = None
) -> None:
    """Write card.json and card.html of a prepared folder."""
    numbers = card_numbers(selection, images, recipe, tokens)
    write_json(out / "card.json", numbers)
    studies = selection.studies
    sections = [
        _warnings(numbers),
        _flow_chart(numbers),
        _splits(numbers),
        _texts(numbers, studies),
        _images(numbers, images_by_source(studies, images)),
        _look(studies, out),
        *([_labels(numbers)] if numbers["labels"] else []),
        _made(numbers),
    ]
    total = f"{len(studies)} studies, {numbers['splits']['train']['studies']} for training"
    write_text(out / "card.html", render("Data card", sections, total), private=True)


def _warnings(numbers: Mapping[str, Any]) -> Section:
    parts = [facts({name: str(count) for name, count in numbers["findings"].items()})]
    if numbers["findings"]["test studies whose report is a training report"]:
        parts.append(
            note(
                "Reports that stand in both splits word for word are mostly normal ones; a model that repeats the most "
                "frequent report is scored well on them. Score it as a baseline."
            )
        )
    private = {name: count for name, count in numbers["private_patterns"].items() if count}
    if private:
        said = ", ".join(f"{name}: {count}" for name, count in private.items())
        parts.append(
            note(f"Sections that hold what looks private: {said}. Look at them before this set goes anywhere.")
        )
    intro = "A patient, an image or a long report in two splits makes a model look better than it is."
    return Section("Leaks and duplicates", parts, intro)


def _flow_chart(numbers: Mapping[str, Any]) -> Section:
    rows = [(row["step"], row["studies"], row["images"], row["subjects"]) for row in numbers["flow_chart"]]
    parts = [table(("what is left", "studies", "images", "patients"), rows)]
    if numbers["left_out"]:
        parts.append(table(("left out", "inputs"), list(numbers["left_out"].items())))
        parts.append(paragraph("Each is a line of rejects.csv with place and reason."))
    parts += [paragraph(note) for note in numbers["notes"]]
    return Section("What was kept", parts)


def _splits(numbers: Mapping[str, Any]) -> Section:
    splits = numbers["splits"]
    rows = []
    for name in splits["train"]:
        row: list[object] = [name]
        for split in SPLITS:
            value, studies = splits[split][name], splits[split]["studies"]
            share = f" ({value / studies:.0%})" if name in _SHARES and studies else ""
            row.append("–" if value is None else f"{value}{share}")
        rows.append(row)
    parts = [table(("", *SPLITS), rows)]
    if any(numbers["days_to_prior"].values()):
        parts.append(_quantiles("days since the prior study", numbers["days_to_prior"]))
    parts += _people(numbers["people"])
    for title, key in (("Images of a study", "view_combinations"), ("Sections", "sections")):
        rows = [[name, *(counts[split] for split in SPLITS)] for name, counts in list(numbers[key].items())[:16]]
        parts += [tag("h3", title), table(("studies with", *SPLITS), rows)]
    parts.append(paragraph("The list of test studies has the SHA-256 ", tag("code", numbers["test_list_sha256"]), "."))
    return Section("Splits", parts)


def _texts(numbers: Mapping[str, Any], studies: Sequence[Study]) -> Section:
    lengths = [len(study.report.split()) for study in studies if study.report]
    parts: list[Html] = []
    if lengths:
        parts.append(histogram(lengths, "Length of reports", label="words"))
        parts.append(_quantiles("words", numbers["words"]))
    if numbers["limit"]:
        limit = numbers["limit"]
        cut = f"{limit['cut']} were cut at the end of a sentence, {limit['left out']} left out."
        said = f"{limit['share'] or 0:.1%} of reports have more than {limit['words']} words (--max-words): {cut}"
        parts.append(paragraph(said))
    if numbers["tokens"]:
        parts += _tokens(numbers["tokens"])
    bars = [Bar(name, share, text=f"{share:.1%}") for name, share in numbers["texts"].items() if share is not None]
    parts.append(whisker_chart(bars, "Share of reports with"))
    sentences = frequent_sentences(studies)
    if sentences:
        parts += [tag("h3", "Most frequent sentences of training reports"), table(("sentence", "reports"), sentences)]
    return Section("Texts", parts)


def _people(people: Mapping[str, Any]) -> list[Html]:
    """Sex of patients and ages at their studies, for sources that say them."""
    if not any(people.values()):
        return []
    sexes = list(next(split["sex"] for split in people.values() if split))
    rows = [[name, *(people[split]["sex"][name] if people[split] else "–" for split in SPLITS)] for name in sexes]
    ages = {split: people[split]["age"] if people[split] else {} for split in SPLITS}
    return [
        tag("h3", "Sex and age"),
        table(("patients", *SPLITS), rows),
        *([_quantiles("years of age, above 89 is 90", ages)] if any(ages.values()) else []),
    ]


def _quantiles(title: str, held: Mapping[str, Mapping[str, float]]) -> Html:
    """A row of quantiles for each name that has any."""
    names = list(dict.fromkeys(quantile for quantiles in held.values() for quantile in quantiles))
    rows = [[row, *(quantiles.get(name, "–") for name in names)] for row, quantiles in held.items()]
    return table((f"{title}, quantiles", *names), rows)


def _tokens(tokens: Mapping[str, Any]) -> list[Html]:
    shares = [(f"{length} tokens", f"{share:.1%}") for length, share in tokens["longer_than"].items()]
    per_image = f"{tokens['tokens_an_image']} tokens an image" if tokens["tokens_an_image"] else "images not counted"
    own = f"; the model's own limit is {tokens['longest']}" if tokens["longest"] else ""
    return [
        _quantiles("tokens", tokens["quantiles"]),
        table(("prompt, images and report are longer than", "studies"), shares),
        paragraph(f"What is longer than --model_max_length is cut or left out in training ({per_image}{own})."),
    ]


def _images(numbers: Mapping[str, Any], by_source: Mapping[str, Sequence[StoredImage]]) -> Section:
    held = numbers["images"]
    parts: list[Html] = [
        histogram([image.brightness for image in images], f"Mean grey of images: {source}", label="0 to 255")
        for source, images in sorted(by_source.items())
    ]
    shapes = [image.width / image.height for images in by_source.values() for image in images]
    if shapes:
        parts.append(histogram(shapes, "Width by height of images", label="above 1: wider than high"))
    for title, key in (
        ("view", "views"), ("view by picture", "by_picture"), ("the source says", "as_the_source_says"),
        ("the file holds", "modes"), ("size in the source", "source_sizes"), ("stored size", "stored_sizes"),
        ("note", "notes"),
    ):  # fmt: skip
        if held[key]:
            parts.append(table((title, "images"), list(held[key].items())[:20]))
    return Section("Images", parts)


def _look(studies: Sequence[Study], out: Path) -> Section:
    """The first studies of each split with their images and text."""
    parts: list[Html] = []
    for split in SPLITS:
        shown = [study for study in studies if study.split == split][:_SHOWN]
        parts += [tag("h3", split)] if shown else []
        for study in shown:
            pictures = [
                image(picture, view.view, f"{view.view} {view.raw_view}")
                for view in study.views[:3]
                if (picture := thumbnail(out / view.path, _IMAGE))
            ]
            text = study.report if study.report is not None else "No report: for generation only."
            parts.append(tag("div", *(tag("div", part) for part in [*pictures, tag("p", text)]), class_="beside"))
    return Section("To look at", parts, "The first studies of each split. Real images and texts stay with the set.")


def _labels(numbers: Mapping[str, Any]) -> Section:
    rows = []
    for label, counts in numbers["labels"].items():
        row: list[object] = [label]
        for split in SPLITS:
            studies = max(1, numbers["splits"][split]["studies"])
            row += [number(counts[split]["present"] / studies), number(counts[split]["uncertain"] / studies)]
        rows.append(row)
    columns = [f"{split}, {word}" for split in SPLITS for word in ("present", "uncertain")]
    return Section("The dataset's own labels", [table(("share of studies", *columns), rows)])


def _made(numbers: Mapping[str, Any]) -> Section:
    recipe = numbers["recipe"]
    parts = [
        table((title, "value"), [(name, str(value)) for name, value in sorted(recipe[key].items())], left=(0, 1))
        for title, key in (("option", "options"), ("version", "versions"), ("input", "inputs"))
    ]
    parts.append(paragraph("The recipe has the SHA-256 ", tag("code", numbers["recipe_sha256"]), "."))
    return Section("How it was made", parts)
