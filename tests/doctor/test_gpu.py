"""The logic of the GPU self-test, where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.doctor import gpu as module
from cxrgen.doctor.gpu import CHECKS, FAILED, PASSED, SKIPPED, Check, Outcome, gpu_checks


def test_without_gpus_everything_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_gpus", lambda: 0)
    outcomes = gpu_checks()
    assert [outcome.name for outcome in outcomes] == [check.name for check in CHECKS]
    assert {outcome.result for outcome in outcomes} == {SKIPPED}
    assert all(outcome.detail.startswith("needs ") for outcome in outcomes)


def test_each_line_stands_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_gpus", lambda: 1)

    def fails(_: Path | None) -> str:
        raise RuntimeError("a long tale\nno kernel image is available")

    checks = (
        Check("good", 1, (), lambda _: "fine"),
        Check("bad", 1, (), fails),
        Check("two", 2, (), lambda _: "never"),
        Check("package", 1, ("no_such_package",), lambda _: "never"),
        Check("model", 1, (), lambda folder: str(folder), needs_model=True),
    )
    assert gpu_checks(checks=checks) == [
        Outcome("good", PASSED, "fine"),
        Outcome("bad", FAILED, "RuntimeError: no kernel image is available"),
        Outcome("two", SKIPPED, "needs 2 GPUs, 1 found"),
        Outcome("package", SKIPPED, "needs no_such_package"),
        Outcome("model", SKIPPED, "needs a checkpoint folder: cxrgen doctor MODEL --gpu"),
    ]
    assert gpu_checks(tmp_path, checks[-1:])[0].detail == str(tmp_path)


@pytest.mark.gpu
def test_on_a_gpu_nothing_fails() -> None:
    assert not [outcome for outcome in gpu_checks() if outcome.result == FAILED]
