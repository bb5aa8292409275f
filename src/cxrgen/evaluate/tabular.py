"""Scores in Python: reports given as lists, dicts or data frames, and scores as text, table, frame and picture.

Any data frame will do that has columns by name (pandas, polars, pyarrow). pandas is imported for `to_frame` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_text
from cxrgen.evaluate.report_files import further_columns
from cxrgen.html import Bar, Html, Section, number, render, table, whisker_chart

Reports: TypeAlias = Any  # a sequence of texts, a mapping of study ids to texts, or a data frame of any library
Text: TypeAlias = str | Sequence[str]  # of a reference: one, or several
Columns = tuple[Sequence[str], Sequence[Text], Sequence[str], Sequence[str] | None]
_IDS = ("study_id", "id")


def as_columns(
    hypotheses: Reports, references: Reports, study_ids: Sequence[str] | None, subjects: Sequence[str] | None
) -> Columns:
    """Reports, references, study ids and patients as lists in one order.

    Lists stay as they are; without `study_ids` they are numbered. Of dicts (study id to text) and of data frames
    (columns study_id and report; in the references also subject_id, and report_2 and so on for further ones) rows are
    matched by id, in the references' order. Raises InputError for ids that do not match.
    """
    if _is_list(hypotheses) and _is_list(references):
        numbered = [str(number) for number in range(len(references))]
        return hypotheses, references, numbered if study_ids is None else study_ids, subjects
    if _is_list(hypotheses) or _is_list(references) or study_ids is not None:
        raise UsageError("give both texts as dicts or data frames, which carry their study ids, or both as lists")
    written, wanted = _by_id(hypotheses), _by_id(references, several=True)
    unmatched = [name for name in (*wanted, *written) if name not in written or name not in wanted]
    if unmatched:
        first = ", ".join(unmatched[:5])
        raise InputError(f"{len(unmatched)} study ids are in one table only; they must match", detail=first)
    if subjects is None and "subject_id" in _names(references):
        subjects = [str(value) for value in _column(references, "subject_id")]
    return [written[name] for name in wanted], list(wanted.values()), list(wanted), subjects


def _is_list(texts: Reports) -> bool:
    return not isinstance(texts, Mapping) and not hasattr(texts, "columns")


def _names(texts: Reports) -> list[str]:
    if isinstance(texts, Mapping):
        return []
    names = texts.column_names if hasattr(texts, "column_names") else getattr(texts, "columns", ())
    return [str(name) for name in names]


def _column(frame: Any, name: str) -> list[Any]:
    values = frame[name]
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values)


def _by_id(texts: Reports, several: bool = False) -> dict[str, Any]:
    if isinstance(texts, Mapping):
        return {str(name): text for name, text in texts.items()}
    names = _names(texts)
    id_name = next((name for name in _IDS if name in names), None)
    if id_name is None or "report" not in names:
        raise InputError(f"a data frame needs the columns study_id and report; it has {', '.join(names) or 'none'}")
    ids = [str(value) for value in _column(texts, id_name)]
    if len(set(ids)) != len(ids):
        raise InputError("a study is given twice; each study is scored once")
    more = further_columns(names) if several else []
    if not more:
        return dict(zip(ids, _column(texts, "report")))
    rows = zip(*(_column(texts, name) for name in ("report", *more)))
    return {
        name: [text for text in row if isinstance(text, str) and text.strip()] or [""] for name, row in zip(ids, rows)
    }


@dataclass(frozen=True)
class Drawing:
    """A picture that notebooks show by themselves; `save` writes it as a page of its own."""

    content: Html
    title: str = "Scores"

    def _repr_html_(self) -> str:
        return self.page()

    def page(self) -> str:
        """The whole page as text."""
        return render(self.title, [Section("", [self.content])])

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        write_text(Path(path), self.page())


def rows_as_html(rows: Iterable[Sequence[Any]]) -> str:
    """(score, value, low, high, better) as an HTML table."""
    cells = [
        (name, number(value), f"{number(low)} to {number(high)}" if low is not None else "–", better)
        for name, value, low, high, better in rows
    ]
    return str(table(("score", "value", "95 %", "better"), cells, left=(0, 3)))


def rows_as_drawing(rows: Iterable[Sequence[Any]]) -> Drawing:
    """(score, value, low, high, better) as bars with whiskers, one scale for those within 1 and one for each other."""
    bars = [Bar(str(name), value, None if low is None else (low, high)) for name, value, low, high, _ in rows]
    within = [bar for bar in bars if abs(bar.value) <= 1]
    charts = [whisker_chart(within)] if within else []
    charts += [whisker_chart([bar]) for bar in bars if bar not in within]
    return Drawing(Html("".join(charts)))


def rows_as_frame(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> Any:
    """Rows as a pandas data frame whose index is the first column."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError("to_frame needs pandas; install it with: pip install pandas") from None
    return pandas.DataFrame(list(rows), columns=list(columns)).set_index(columns[0])
