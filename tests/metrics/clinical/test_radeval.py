"""radeval in a process of its own, with a stand-in for it whose answers can be worked out by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.metrics import measure
from cxrgen.metrics.clinical import radeval as clinical
from cxrgen.metrics.clinical import radeval_process, radeval_runner


def values_of(name: str, said: list[str], wanted: list[str], **options: Any) -> list[float]:
    measured = measure(name, said, wanted, **options)
    (values,) = measured.aggregate(measured.counts).values()
    return values.tolist()


def test_ratescore_stays_with_its_pair(stand_in: Path) -> None:
    """An empty report gives no row in radeval, which moves all later scores to the wrong pair."""
    said = ["lungs clear", "", "heart normal", "a b"]
    wanted = ["lungs clear", "heart normal", "heart big", "ok"]
    assert values_of("ratescore", said, wanted) == [1, 0.5, 1 / 3, 0.5]
    assert values_of("ratescore", [""], [""]) == [0.5]


def test_green_is_quiet_and_leaves_nothing(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert values_of("green", ["lungs clear", "", "x"], ["lungs clear", "heart", "y"]) == [1, 0, 0]
    shown = capfd.readouterr()
    assert "lungs" not in shown.out + shown.err
    assert set(tmp_path.iterdir()) == before


def test_srr_weighs_by_support(stand_in: Path) -> None:
    """The stand-in's labels are lengths of sentences: {4, 3}, {4} against {4}, {4, 3}, {3}."""
    measured = measure("srr", ["abcd. abc", "abcd", "abcd"], ["abcd", "abcd. abc", "abc"])
    value = measured.aggregate(measured.counts.sum(axis=0))["srr_f1_weighted"]
    four, three = 2 * 2 / (2 * 2 + 1 + 0), 0.0  # hits 2, alarms 1; hits 0, alarms 1, misses 2
    assert value == pytest.approx((2 * four + 2 * three) / 4)
    assert measured.counts.shape == (3, 3 * 163)


@pytest.mark.parametrize(("level", "labels"), clinical.SRR_LABELS.items())
def test_levels_of_srr(stand_in: Path, level: str, labels: int) -> None:
    """Each level is a model of its own with its own number of labels, and a score of its own name."""
    measured = measure(f"srr.{level}", ["abcd. abc", "abcd"], ["abcd", "abcd"])
    (score,) = measured.aggregate(measured.counts.sum(axis=0))
    assert score == ("srr_f1_weighted" if level == clinical.DEFAULT_LEVEL else f"srr_f1_weighted.{level}")
    assert measured.counts.shape == (2, 3 * labels)
    assert measure(f"srr.{level}", [], []).counts.shape == (0, 3 * labels)
    assert f"labels:{level.replace('-', ' ')}|" in measured.signature


def test_without_radeval_the_way_out_is_named() -> None:
    with pytest.raises(
        InputError, match=r"No module named 'radeval'\).*pip install radeval 'numpy<2'.* --radeval.*GREEN"
    ):
        measure("green", ["a"], ["a"])


def test_a_program_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be run"):
        measure("green", ["a"], ["a"], python=tmp_path / "python")


def test_another_python_is_used(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path may be relative, and a link is not followed: it says which environment is meant."""
    script = '#!/bin/sh\ntouch "{}"\nexec "{}" "$@"\n'.format(tmp_path / "used", sys.executable)
    (tmp_path / "python").write_text(script, encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    measured = measure("green", ["a"], ["a"], python=Path("python"))
    assert measured.counts.tolist() == [[1, 1]]
    assert (tmp_path / "used").exists()


def test_a_failure_never_quotes_a_report(stand_in: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        InputError, match=r"radeval failed on these reports \(ValueError in __init__\.py:\d+\)"
    ) as caught:
        measure("radgraph", ["explode near the hilum"], ["lungs clear"])
    shown = capfd.readouterr()
    assert "hilum" not in str(caught.value) + shown.out + shown.err


def test_a_process_that_dies(stand_in: Path, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(InputError, match="ended with code -9"):
        measure("green", ["a"], ["a"], python=program)


def test_fetching_is_the_only_way_to_the_network(stand_in: Path) -> None:
    script = str(Path(radeval_runner.__file__))
    done = subprocess.run([sys.executable, script, "--fetch", "green"], capture_output=True, text=True, check=False)
    assert "the network was asked for" in done.stderr
    assert values_of("green", ["a"], ["a"]) == [1]


def plant(hub: Path, repository: str, commit: str) -> None:
    """A snapshot of no files, as the hub's cache lays it out."""
    place = hub / f"models--{repository.replace('/', '--')}"
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit, encoding="ascii")


def test_version_and_snapshot_are_in_the_signature(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "green|radeval:2.2.1|weights:not known|" in measure("green", ["a"], ["a"]).signature
    missing = radeval_process.lacking("green")
    assert re.match(r"needs StanfordAIMI/GREEN-radllama2-7b \(14 GB\), not found; bring them.* --fetch green`", missing)
    plant(tmp_path, "StanfordAIMI/GREEN-radllama2-7b", "0123456789abcdef")
    expected = "green|radeval:2.2.1|weights:StanfordAIMI/GREEN-radllama2-7b@0123456789ab|unreadable answer:0|"
    assert expected in measure("green", ["a"], ["a"]).signature
    assert radeval_process.lacking("green") == ""
    monkeypatch.delenv("PYTHONPATH")
    assert "No module named 'radeval'" in radeval_process.lacking("green")


def test_radgraph_is_known_by_the_hash_of_its_weights(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "appdirs.py").write_text(
        f"def user_cache_dir(name):\n    return {str(tmp_path)!r} + '/' + name\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", f"{stand_in}:{tmp_path}")
    assert "weights:not known" in measure("radgraph", ["a"], ["a"]).signature
    folder = tmp_path / "radgraph" / "0.1.18" / "radgraph-xl"
    folder.mkdir(parents=True)
    (folder / "weights.th").write_bytes(b"weights")
    assert f"weights:{sha256_file(folder / 'weights.th')[:12]}|" in measure("radgraph", ["a"], ["a"]).signature


def test_kept_pairs_are_not_asked_again(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the weights change; and without a known snapshot nothing is kept."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "log"))
    log, kept = tmp_path / "log", tmp_path / "kept"

    def asked(said: list[str]) -> list[str]:
        log.write_text("")
        assert values_of("green", said, ["b"] * len(said), cache=kept) == [float(text == "b") for text in said]
        return log.read_text().split()

    assert asked(["a", "b", "a"]) == ["green:loaded", "green:2"]
    assert not kept.exists()
    plant(tmp_path / "hub", "StanfordAIMI/GREEN-radllama2-7b", "first")
    assert asked(["a", "b", "a"]) == ["green:loaded", "green:2"]
    assert asked(["a", "b"]) == []
    assert asked(["c", "b"]) == ["green:loaded", "green:1"]
    plant(tmp_path / "hub", "StanfordAIMI/GREEN-radllama2-7b", "second")
    assert asked(["c", "b"]) == ["green:loaded", "green:2"]


def test_no_texts_need_no_radeval() -> None:
    for name, score, width in (
        ("ratescore", "ratescore", 2),
        ("green", "green", 2),
        ("srr", "srr_f1_weighted", 3 * 163),
    ):
        measured = measure(name, [], [])
        assert measured.counts.shape == (0, width)
        assert list(measured.aggregate(np.ones(width))) == [score]


def test_neighbours_of_the_runner_answer_to_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a script is the first place Python looks in; ours has files called radgraph and words."""
    code = f"import pathlib, sys\npathlib.Path({str(tmp_path / 'seen')!r}).write_text(str(sys.path))\n"
    (tmp_path / "radeval.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError):
        measure("green", ["a"], ["a"])
    assert str(Path(radeval_runner.__file__).parent) not in (tmp_path / "seen").read_text(encoding="utf-8")
