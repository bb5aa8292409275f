"""Every command that needs no model, whole: on terminals of other code pages, full disks, closed streams, no rights."""

from __future__ import annotations

import ctypes
import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.folders import LOCK, locked

CXRGEN = (sys.executable, "-m", "cxrgen")
COMMANDS = {
    "prepare": ("prepare", "course", "--out", "out", "--workers", "1"),
    "evaluate": ("evaluate", "--pred", "pred.csv", "--gt", "gt.csv", "--out", "out", "--metrics", "rouge"),
    "compare": ("compare", "a", "b", "--permutations", "9", "--out", "out", "--json"),
    "phantom": ("phantom", "--out", "out", "--studies", "4", "--workers", "1"),
    "generate": ("generate", "--baseline", "frequent", "--question-file", "set", "--answers-file-pred", "out/p.csv"),
    "download": ("download", "data", "--out", "out", "--dry-run"),
}


@pytest.fixture
def place(course: Path, tmp_path: Path, write_table: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Path:
    """A source, a set, two CSVs and two score folders."""
    reports = [(f"{number:04}", f"Heart {number} → normal.") for number in range(1, 7)]
    for name in ("pred", "gt"):
        write_table(tmp_path / f"{name}.csv", ("study_id", "report"), reports)
    assert main(["prepare", str(course), "--out", str(tmp_path / "set"), "--workers", "1"]) == 0
    for name in ("a", "b"):
        files = ["--pred", str(tmp_path / "pred.csv"), "--gt", str(tmp_path / "gt.csv")]
        assert main(["evaluate", *files, "--out", str(tmp_path / name), "--metrics", "rouge"]) == 0
    capsys.readouterr()
    return tmp_path


def run(place: Path, words: tuple[str, ...], **how: object) -> subprocess.CompletedProcess[str]:
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    result = subprocess.run([*CXRGEN, *words], cwd=place, text=True, timeout=120, **how)  # type: ignore[call-overload]
    assert "Traceback" not in (result.stderr or ""), result.stderr
    return result  # type: ignore[no-any-return]


def parts(folder: Path) -> list[Path]:
    """What was left under a temporary name."""
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_ending_is_one_line_with_its_exit_code(place: Path, name: str) -> None:
    words = COMMANDS[name]
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for more in ({"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "cp1252"}, {}, {"PYTHONOPTIMIZE": "2"}):
        assert run(place, words, env={**os.environ, **plain, **more}).returncode == 0
    with open("/dev/full", "w") as full:
        result = run(place, words, stdout=full)
        assert result.returncode == 1
        assert result.stderr.endswith(f"cxrgen {name}: standard output: no space left on the device\n")
        assert run(place, words, stderr=full).returncode in (0, 1)
    reading, writing = os.pipe()
    os.close(reading)
    assert run(place, words, stdout=writing).returncode == 141
    assert run(place, words, stderr=writing).returncode in (0, 141)
    os.close(writing)
    for closed in (1, 2):
        assert run(place, words, preexec_fn=lambda number=closed: os.close(number)).returncode == 0
    assert not parts(place)


def full_disk() -> None:
    """A file can grow to 100 bytes only, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("name", ["evaluate", "compare", "phantom", "generate"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(place: Path, name: str) -> None:
    result = run(place, COMMANDS[name], preexec_fn=full_disk)
    assert result.returncode == 1
    assert "cannot be written (File too large); make room and run it again" in result.stderr.splitlines()[-1]
    assert not [path for path in (place / "out").rglob("*") if path.is_file() and path.name != LOCK]


def without_rights() -> None:
    """Permissions count for root too."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


CLOSED = {
    "pred": ("evaluate", "pred.csv"),
    "out": ("evaluate", "out"),
    "scores": ("compare", "b"),
    "scores-file": ("compare", "b/scores.json"),
    "source": ("prepare", "course"),
    "images": ("prepare", "course/images"),
    "set": ("generate", "set"),
    "set-file": ("generate", "set/studies.parquet"),
    "reports": ("generate", "out"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize(("name", "closed"), CLOSED.values(), ids=CLOSED)
def test_what_may_not_be_read_or_written_is_one_line(place: Path, name: str, closed: str) -> None:
    (place / "out").mkdir()
    (place / closed).chmod(0)
    try:
        result = run(place, COMMANDS[name], preexec_fn=without_rights)
    finally:
        (place / closed).chmod(0o700)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"cxrgen {name}: ")
    assert closed.split("/")[0] in last


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize("closed", ["reports", "reports/0005.txt"])
def test_reports_that_may_not_be_read_are_no_missing_reports(place: Path, closed: str) -> None:
    reports = place / "course" / "reports"
    reports.mkdir()
    (reports / "0005.txt").write_text("FINDINGS: Clear.")
    (place / "course" / closed).chmod(0)
    result = run(place, COMMANDS["prepare"], preexec_fn=without_rights)
    (place / "course" / closed).chmod(0o700)
    if closed == "reports":
        assert (result.returncode, "its folder reports cannot be read" in result.stderr) == (1, True)
    else:
        assert "reports/0005.txt,0005,text-unreadable" in (place / "out/rejects.csv").read_text()


def test_an_interrupt_while_the_package_is_imported_ends_without_a_word() -> None:
    """There is nothing to clean up yet: the system's own answer holds until the first line of `start`."""
    program = "import os, signal, cxrgen.__main__\nos.kill(os.getpid(), signal.SIGINT)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("name", ["prepare", "evaluate", "compare", "phantom"])
def test_two_runs_do_not_write_one_folder(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    with locked(place / "out"):
        assert main(COMMANDS[name]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"cxrgen {name}: out: another run is writing there; ")
    assert [path.name for path in (place / "out").iterdir()] == [LOCK]
    assert main(COMMANDS[name]) == 0


def test_a_packed_table_of_3_gib_at_evaluate(place: Path) -> None:
    """The limit of the tables, under a limit of memory that holds for the whole process."""
    blanks = gzip.compress(b" " * (16 << 20), 9)
    (place / "pred.csv.gz").write_bytes(gzip.compress(b"study_id,report\n0001,") + blanks * 192)
    words = [word.replace("pred.csv", "pred.csv.gz") for word in COMMANDS["evaluate"]]
    size = 1_500_000_000
    result = run(place, tuple(words), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
    assert (result.returncode, "unpacked, which no such table does" in result.stderr) == (1, True)


def test_without_docstrings_a_model_is_refused_in_one_line() -> None:
    program = (
        "from cxrgen.core.errors import InputError\n"
        "try:\n    import cxrgen.model\nexcept InputError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True)
    assert (result.returncode, "use -O at most" in result.stdout) == (0, True)
