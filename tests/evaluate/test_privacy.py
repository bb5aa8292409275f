"""A name planted in cells, headers and ids of what is scored stays off the screen and out of open files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.cli import main

NAME = "Mustermann"
Rows = list[list[str]]
Plant = Callable[[Rows, Rows, Rows], None]


def sources() -> tuple[Rows, Rows, Rows]:
    """Predictions, references and truth of eight studies, the name in every id, patient and text."""
    names = [f"{NAME}{number}" for number in range(8)]
    pred = [["study_id", "report"], *([name, f"{NAME}: {name} clear."] for name in names)]
    gt = [["study_id", "subject_id", "report"], *([name, f"p {name}", f"{name} normal."] for name in names)]
    return pred, gt, [["study_id", NAME], *([name, NAME] for name in names)]


def in_header(column: int, text: str) -> Plant:
    def plant(pred: Rows, gt: Rows, truth: Rows) -> None:
        pred[0][column] = text

    return plant


def more_columns(pred: Rows, gt: Rows, truth: Rows) -> None:
    for number, row in enumerate(pred):
        row.append(f"{NAME} {number or 'column'}")


PLANTS: dict[str, Plant] = {
    "nothing-more": lambda pred, gt, truth: None,
    "id-header": in_header(0, NAME),
    "report-header": in_header(1, f"report{NAME}"),
    "headers-alike": in_header(1, "study_id"),
    "no-header": lambda pred, gt, truth: pred.pop(0) and None,
    "more-columns": more_columns,
    "missing": lambda pred, gt, truth: pred.pop() and None,
    "extra": lambda pred, gt, truth: pred.append([f"{NAME} more", NAME]),
    "doubled": lambda pred, gt, truth: pred.append(pred[1]),
    "no-common": lambda pred, gt, truth: [row.__setitem__(0, f"x{row[0]}") for row in pred[1:]] and None,
    "longer-row": lambda pred, gt, truth: pred.append([NAME, NAME, NAME]),
    "truth-missing": lambda pred, gt, truth: truth.pop() and None,
    "truth-doubled": lambda pred, gt, truth: truth.append(truth[1]),
    "truth-empty": lambda pred, gt, truth: truth.__setitem__(slice(1, None), []),
}


def written(path: Path, rows: Rows) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def evaluate(folder: Path, plant: Plant, capfd: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    pred, gt, truth = sources()
    plant(pred, gt, truth)
    files = {"--pred": pred, "--gt": gt, **({"--truth": truth} if "--truth" in more else {})}
    words = [str(word) for flag, rows in files.items() for word in (flag, written(folder / f"{flag[2:]}.csv", rows))]
    given = [word for word in more if word != "--truth"]
    code = main(["evaluate", *words, "--out", str(folder / "out"), "--metrics", "toy", *given])
    said = capfd.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("more", [(), ("--allow-missing",), ("--truth",), ("--allow-missing", "--json")], ids=str)
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_name_stays_in_private_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], plant: Plant, more: tuple[str, ...]
) -> None:
    code, said = evaluate(tmp_path, plant, capfd, *more)
    assert code in (0, 1), said
    assert NAME.lower() not in said.lower()
    for path in (tmp_path / "out").glob("*"):
        assert NAME not in path.name
        assert not path.stat().st_mode & 0o077 or NAME.encode() not in path.read_bytes()


@pytest.mark.parametrize("case", ["id-header", "missing", "extra", "doubled", "no-common"])
def test_values_are_shown_when_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    code, said = evaluate(tmp_path, PLANTS[case], capfd, "--show-values")
    assert (code, NAME in said) == (1, True)


def test_compared_folders_show_no_ids(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert (
            evaluate(tmp_path / name, PLANTS["missing" if name == "b" else "extra"], capfd, "--allow-missing")[0] == 0
        )
    folders = [str(tmp_path / name / "out") for name in ("a", "b")]
    for more in ((), ("--json",)):
        assert main(["compare", *folders, "--out", str(tmp_path / "c"), "--permutations", "50", *more]) == 0
    said = capfd.readouterr()
    assert NAME not in said.out + said.err
    assert not any(NAME in path.read_text() for path in (tmp_path / "c").iterdir())
