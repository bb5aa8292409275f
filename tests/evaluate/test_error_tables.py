"""Published tables of counted errors: made-up miniatures in the layouts of ReXVal and RadEvalExpert."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import read_csv
from cxrgen.evaluate.error_tables import Columns, Counted, annotated, counted_errors, write_pairs

CANDIDATES = ("radgraph", "bertscore", "s_emb", "bleu")
WORDS = ["small", "left", "effusion", "with", "basal", "atelectasis", "and", "cardiomegaly"]
CATEGORIES = (
    "False prediction of finding",
    "Omission of finding",
    "Incorrect location/position of finding",
    "Incorrect severity of finding",
    "Mention of comparison that is not present in the reference",
    "Omission of a change from a previous study",
    "Inarticulate report (grammar and readability issues)",
)


def written(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def missing(study: int, candidate: int) -> int:
    """How many words of the reference a candidate report lacks: its errors."""
    return (study + candidate) % 5


def rexval(folder: Path, first: int = 0, studies: int = 3, readers: int = 2) -> tuple[Path, Path]:
    """The counts by reader and category, and the reports; reader 1 counts one insignificant error more."""
    rows: list[list[object]] = []
    for study in range(studies):
        for place, candidate in enumerate(CANDIDATES):
            for category in range(1, 7):
                for reader in range(readers):
                    for significant in (True, False):
                        count = missing(study, place) if category == 2 and significant else 0
                        count += category == 1 and reader == 1 and not significant
                        rows.append([study + first, candidate, category, reader, significant, count])
    header = ["study_number", "candidate_type", "error_category", "rater_index", "clinically_significant", "num_errors"]
    texts = [
        [1000 + study, " ".join(WORDS), *(" ".join(WORDS[missing(study, place) :]) for place in range(len(CANDIDATES)))]
        for study in range(studies)
    ]
    reports = written(folder / "50_samples_gt_and_candidates.csv", ["study_id", "gt_report", *CANDIDATES], texts)
    return written(folder / "errors.csv", header, rows), reports


def annotation(significant: int, insignificant: int, categories: int = 7) -> str:
    """An annotation whose errors are all omissions."""
    lines = []
    for header, count in (("**Significant:**", significant), ("Insignificant:", insignificant)):
        lines += [header]
        lines += [f"{i}. {CATEGORIES[i - 1]}: {count if i == 2 else 0}" for i in range(1, categories + 1)] + [""]
    return "\n".join(lines)


def radeval(folder: Path, **cells: str) -> Path:
    """Six rows of three predictions; `cells` replace those of the first row."""
    header = ["annotator", "type", "ground_truth", "images_path"]
    header += [f"prediction{slot}" for slot in (1, 2, 3)] + [f"annotation{slot}" for slot in (1, 2, 3)]
    rows = []
    for number in range(6):
        reference = f"{' '.join(WORDS)} {number}"
        lacks = [missing(number, slot) for slot in range(3)]
        row: list[object] = ["reader", "findings", reference, f"p{number // 2}/s{number}.png"]
        row += [" ".join(reference.split()[count:]) for count in lacks]
        row += [annotation(count, slot) for slot, count in enumerate(lacks)]
        rows.append(row)
    for name, value in cells.items():
        rows[0][header.index(name)] = value
    return written(folder / "reader_study.csv", header, rows)


def counted(path: Path, reports: Path | None = None, significant: bool = False) -> Counted:
    return counted_errors(read_csv(path), Columns(), read_csv(reports) if reports else None, significant)


def test_rexval_is_known_by_its_columns(tmp_path: Path) -> None:
    table, _ = rexval(tmp_path)
    all_errors, significant = counted(table), counted(table, significant=True)
    assert len(all_errors.errors) == 12
    for study in range(3):
        for place, candidate in enumerate(CANDIDATES):
            name = f"{study}_{candidate}"
            assert significant.errors[name] == missing(study, place)
            assert all_errors.errors[name] == missing(study, place) + 0.5, "one of two readers counted one more"
            assert all_errors.case_of[name] == str(study)
    assert all_errors.notes == ("ReXVal: 12 reports, 2 readers",)


@pytest.mark.parametrize("first", [0, 1])
def test_reports_of_rexval_are_those_of_their_number(tmp_path: Path, first: int) -> None:
    table, reports = rexval(tmp_path, first)
    found = counted(table, reports)
    for study in range(3):
        for place, candidate in enumerate(CANDIDATES):
            report, reference = found.texts[f"{study + first}_{candidate}"]
            assert reference == " ".join(WORDS)
            assert report == " ".join(WORDS[missing(study, place) :])


def test_rexval_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    table, reports = rexval(tmp_path)
    rows = reports.read_text().splitlines()
    reports.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(InputError, match="2 rows, fewer than study_number counts"):
        counted(table, reports)
    reports.write_text("\n".join([rows[0].replace("s_emb", "other"), *rows[1:]]) + "\n")
    with pytest.raises(InputError, match="no column for a candidate_type") as raised:
        counted(table, reports)
    assert "s_emb" not in str(raised.value), "cells are no part of a message"
    assert "s_emb" in raised.value.shown(show_values=True)
    table.write_text(table.read_text().replace("True", "perhaps"))
    with pytest.raises(InputError, match=r"errors.csv:2: .*'clinically_significant' holds neither true nor false"):
        counted(table, significant=True)


def test_radeval_expert_is_known_by_its_columns(tmp_path: Path) -> None:
    table = radeval(tmp_path)
    all_errors, significant = counted(table), counted(table, significant=True)
    assert len(all_errors.errors) == 18
    for number in range(6):
        for slot in range(3):
            name = f"{number + 1}_{slot + 1}"
            assert significant.errors[name] == missing(number, slot)
            assert all_errors.errors[name] == missing(number, slot) + slot
            assert all_errors.texts[name][1] == f"{' '.join(WORDS)} {number}"
            assert all_errors.case_of[name] == f"p{number // 2}/s{number}.png"
    assert all_errors.notes == ("RadEvalExpert: 18 reports",)


def test_a_report_of_two_readers_is_one(tmp_path: Path) -> None:
    table = radeval(tmp_path)
    rows = list(csv.reader(open(table, encoding="utf-8", newline="")))  # noqa: SIM115
    second = ["another", *rows[1][1:7], annotation(4, 0), annotation(4, 0), annotation(4, 0)]
    found = counted(written(table, rows[0], [*rows[1:], second]))
    assert len(found.errors) == 18
    assert found.errors["1_1"] == (missing(0, 0) + 4) / 2


def test_an_annotation_without_all_counts_is_left_out_and_counted(tmp_path: Path) -> None:
    broken = annotation(1, 0).replace("2. Omission of finding: 1", "2. Omission of finding: one")
    found = counted(radeval(tmp_path, annotation1=broken))
    assert len(found.errors) == 17
    assert "1_1" not in found.errors
    assert "1 annotations left out" in found.notes[1]
    half = annotation(1, 0).rpartition("7.")[0]
    assert len(counted(radeval(tmp_path, annotation2=half)).errors) == 17
    assert len(counted(radeval(tmp_path, annotation2=half), significant=True).errors) == 18, "its first part is whole"
    everything = {f"annotation{slot}": "" for slot in (1, 2, 3)}
    table = radeval(tmp_path, **everything)
    lines = list(csv.reader(open(table, encoding="utf-8", newline="")))[:2]  # noqa: SIM115
    with pytest.raises(InputError, match="no annotation holds counts"):
        counted(written(table, lines[0], lines[1:]))


@pytest.mark.parametrize(
    ("text", "sums"),
    [
        (annotation(2, 3), (2, 3)),
        (annotation(2, 3, categories=6), (2, 3)),
        (annotation(0, 0).replace(". ", ") "), (0, 0)),
        (annotation(2, 3).upper(), (2, 3)),
        (annotation(2, 3).replace("**Significant:**", "Clinically significant errors"), (2, 3)),
        (annotation(2, 3).replace("\n", "\r\n"), (2, 3)),
        ("A remark.\n" + annotation(2, 3), (2, 3)),
        (annotation(2, 3) + "\nSee above.", (2, None)),
        (annotation(2, 3) + annotation(1, 1), (None, None)),
        (annotation(2, 3, categories=5), (None, None)),
        (annotation(2, 3).replace("1. ", "3. "), (None, None)),
        (annotation(2, 3).replace(": 2", ": -2"), (None, 3)),
        (annotation(2, 3).replace(": 2", ": 2000"), (None, 3)),
        (annotation(2, 3).replace("**Significant:**", ""), (None, 3)),
        ("", (None, None)),
    ],
)
def test_an_annotation_is_read_as_a_whole_or_not(text: str, sums: tuple[int | None, int | None]) -> None:
    assert annotated(text) == {True: sums[0], False: sums[1]}


def test_pairs_are_scored_and_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reports that lack more words have more errors: from the published files to the correlations, as one types it."""
    rexval_table, reports = rexval(tmp_path, studies=5)
    radeval_table = radeval(tmp_path)
    for name, table, more in (("a", rexval_table, ["--reports", str(reports)]), ("b", radeval_table, [])):
        pairs, scores = tmp_path / f"{name}-pairs", tmp_path / f"{name}-scores"
        assert main(["meta", str(table), "--pairs", str(pairs), *more]) == 0
        assert capsys.readouterr().out.split() == [str(pairs / "pred.csv"), str(pairs / "gt.csv")]
        assert not (pairs / "gt.csv").stat().st_mode & 0o077
        given = ["--pred", str(pairs / "pred.csv"), "--gt", str(pairs / "gt.csv"), "--out", str(scores)]
        assert main(["evaluate", *given, "--metrics", "form,rouge"]) == 0
        capsys.readouterr()
        assert main(["meta", str(table), str(scores), "--significant", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        rows = {row["score"]: row for row in content["agreement"]}
        assert rows["rouge_l"]["tau"] == pytest.approx(1, abs=0.05)
        assert rows["rouge_l"]["n"] == len(read_csv(pairs / "gt.csv").rows)
        assert "errors:significant" in content["signature"]
        assert main(["meta", str(table), str(scores)]) == 0
        assert "ROUGE-L" in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, reports = rexval(tmp_path)
    own = written(tmp_path / "own.csv", ["study_id", "errors"], [["a", 1]])
    for words, message in (
        ([table], "a score folder is missing; for a published table --pairs DIR"),
        ([table, "--pairs", tmp_path / "x"], "of ReXVal give --reports"),
        ([own, "--pairs", tmp_path / "x"], "--pairs needs the reports"),
        ([own, "--pairs", tmp_path / "x", "--reports", reports], "--reports is the second file of ReXVal"),
    ):
        assert main(["meta", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_table_of_ones_own_comes_first(tmp_path: Path) -> None:
    header = ["study_id", "study_number", "candidate_type", "num_errors", "clinically_significant"]
    rows: list[list[object]] = [["a", 1, "bleu", 3, "yes"], ["a", 1, "bleu", 2, "no"], ["b", 1, "bleu", 1, 0]]
    table = read_csv(written(tmp_path / "t.csv", header, rows))
    columns = Columns(errors="num_errors", case="study_number")
    assert counted_errors(table, columns).errors == {"a": 5, "b": 1}
    assert counted_errors(table, columns, significant=True).errors == {"a": 3, "b": 0}
    with pytest.raises(UsageError, match="--pairs needs the reports"):
        write_pairs(tmp_path, counted_errors(table, columns))
