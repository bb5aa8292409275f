from __future__ import annotations

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.resume import Partial, checkpoint_digest, images_digest, partial_path, partial_paths, read_finished

WHO = {"questions": "abc", "temperature": 0.0}
ASKED = [Conversation(f"{number:03}", (), ()) for number in range(1000)]
NO_IMAGES = images_digest(Path(), ())


def reports(count: int) -> dict[int, Prediction]:
    return {
        number: Prediction(f"{number:03}", f"Line one, {number}\nline \u2028 two \U0001fac1") for number in range(count)
    }


@pytest.fixture
def pred(tmp_path: Path) -> Path:
    """pred.csv, of which three reports are written by process 0 and two by process 1."""
    path = tmp_path / "pred.csv"
    for rank, numbers in enumerate(([0, 1, 2], [3, 4])):
        partial = Partial(partial_path(path, rank), WHO)
        for number in numbers:
            partial.add(number, reports(5)[number], NO_IMAGES)
        partial.close()
    return path


def test_what_was_written_is_read_again(pred: Path) -> None:
    assert read_finished(pred, WHO, ASKED) == reports(5)
    assert {stat.S_IMODE(path.stat().st_mode) for path in partial_paths(pred)} == {0o600}


def test_cut_anywhere_it_is_whole_up_to_there_and_goes_on(pred: Path) -> None:
    path = partial_path(pred, 0)
    whole = path.read_bytes()
    known = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        finished = read_finished(pred, WHO, ASKED)
        assert finished.items() <= reports(5).items()
        known.add(len(finished))
        partial = Partial(path, WHO)
        partial.add(2, reports(5)[2], NO_IMAGES)
        partial.close()
        assert read_finished(pred, WHO, ASKED) == {**finished, 2: reports(5)[2]}
    assert known == {2, 3, 4}


@pytest.mark.parametrize("other", [{**WHO, "temperature": 0.7}, {"questions": "abc"}, {**WHO, "new": 1}])
def test_reports_of_another_run_are_refused(pred: Path, other: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"temperature|new") as caught:
        read_finished(pred, other, ASKED)
    assert "--restart" in str(caught.value)


def test_damage_in_the_middle_is_refused(pred: Path) -> None:
    path = partial_path(pred, 0)
    path.write_bytes(path.read_bytes().replace(b'{"n": 1', b'{"n" 1'))
    with pytest.raises(InputError, match="damaged"):
        read_finished(pred, WHO, ASKED)


def test_two_runs_do_not_write_one_file(pred: Path) -> None:
    first = Partial(partial_path(pred, 0), WHO)
    with pytest.raises(InputError, match="another run"):
        Partial(partial_path(pred, 0), WHO)
    first.close()
    Partial(partial_path(pred, 0), WHO).close()


def test_files_of_other_names_are_not_taken(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a1.csv"):
        Partial(partial_path(tmp_path / name, 0), WHO).close()
    assert partial_paths(tmp_path / "a[1].csv") == [tmp_path / "a[1].csv.partial.jsonl"]


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from cxrgen.core.errors import InputError
from cxrgen.generate.resume import Partial
from cxrgen.core.records import Conversation, Prediction
partial = Partial(Path({str(tmp_path / "p.csv.partial.jsonl")!r}), {WHO!r})
try:
    for number in range(1000):
        partial.add(number, Prediction(str(number).zfill(3), "word " * 20), "")
except InputError as error:
    sys.exit(str(error))
"""
    limit = 2000  # bytes a file may have, which fails as a full disk does

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run([sys.executable, "-c", program], preexec_fn=limited, capture_output=True, text=True)
    assert result.returncode == 1
    assert "make room and run again" in result.stderr
    assert len(read_finished(tmp_path / "p.csv", WHO, ASKED)) > 5


def test_another_checkpoint_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"0" * 10)
    before = checkpoint_digest(tmp_path)
    assert checkpoint_digest(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"0" * 11)
    larger = checkpoint_digest(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert len({before, larger, checkpoint_digest(tmp_path)}) == 3


def test_a_run_that_wrote_nothing_binds_no_later_one(tmp_path: Path) -> None:
    """It may have ended because of the very option that is changed now."""
    path = partial_path(tmp_path / "pred.csv", 0)
    Partial(path, WHO).close()
    other = {**WHO, "temperature": 0.7}
    assert read_finished(tmp_path / "pred.csv", other, ASKED) == {}
    partial = Partial(path, other)
    partial.add(0, reports(1)[0], NO_IMAGES)
    partial.close()
    assert read_finished(tmp_path / "pred.csv", other, ASKED) == reports(1)
    with pytest.raises(InputError, match="temperature"):
        read_finished(tmp_path / "pred.csv", WHO, ASKED)
