"""What a reward does not see ends a run: longer reports, the same report for all, a fall on studies from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.train.material import SENTENCES, assert_equal, weights, write_prepared
from tests.train.test_grpo import lines_of, run_of

from cxrgen.core.errors import InputError
from cxrgen.evaluate.paired import gaps
from cxrgen.evaluate.statistics import clusters
from cxrgen.metrics import rewards
from cxrgen.train.pipeline import train
from cxrgen.train.reward_watch import DISTINCT, LENGTH_OFF, is_worse, measures

COUNT = 40
REFERENCES = [f"{SENTENCES[number % 4]} {SENTENCES[number % 3]} Study {number}." for number in range(COUNT)]


def worse(before: Sequence[str], after: Sequence[str]) -> set[str]:
    groups = clusters([str(number) for number in range(COUNT)])
    found = set()
    for one, other in zip(measures(before, REFERENCES), measures(after, REFERENCES)):
        names = [name for name in (DISTINCT, LENGTH_OFF, "bleu_4", "rule_f1_micro_14") if name in one.per_study()]
        found |= {name for name, gap in gaps(one, other, groups, names).items() if is_worse(gap)}
    return found


def test_what_counts_as_worse() -> None:
    own = list(REFERENCES)
    assert worse(own, own) == set()
    assert worse([""] * COUNT, own) == set(), "better is never worse"
    assert DISTINCT in worse(own, [own[0]] * COUNT), "the same report for all"
    assert worse(own, [f"{text} {text}" for text in own]) >= {LENGTH_OFF}
    assert worse(own, [" ".join(text.split()[:3]) for text in own]) >= {LENGTH_OFF, "bleu_4"}
    one = [f"{own[0]} More." if number == 0 else text for number, text in enumerate(own)]
    assert worse(own, one) == set(), "one study of forty may be chance"
    assert "rule_f1_micro_14" in worse(own, ["There is a pneumothorax."] * COUNT)


def longer(reports: Sequence[str], references: Sequence[str], studies: object = ()) -> list[float]:
    return [float(len(report.split())) for report in reports]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return write_prepared(tmp_path / "outside", train=2, valid=12, source="elsewhere")


def test_a_planted_hack_is_caught_and_the_state_before_it_kept(
    writer: Path, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer is better: the reports grow, the run ends, and its model is the best before."""
    monkeypatch.setitem(rewards.REWARDS, "longer", longer)
    given: dict[str, Any] = {"reward": "longer", "kl_weight": 0.0, "learning_rate": 1e-2, "max_steps": 20}
    given |= {"watch_steps": 4, "save_steps": 4, "outside_data": str(outside), "watch_studies": 12, "sample_tokens": 40}
    own, out = write_prepared(tmp_path / "own", train=24, valid=16), tmp_path / "run"
    losses = train(run_of(writer, own, out, **given))
    assert len(losses) < 20, "the run ended early"
    words = lines_of(out, "held_words")
    assert words[-1] > words[0]
    (note,) = lines_of(out, "note")
    # Both follow from longer reports; which of them is beyond chance first depends on the processor's rounding.
    seen = ("the distance from the references' length rose from", "outside set: bleu_4 fell from")
    assert any(reason in str(note) for reason in seen), note
    last = out / f"checkpoint-{len(losses)}" / "state.json"
    kept = json.loads(last.read_text())["remembered"]["best_step"]
    assert f"the model is that of step {kept}" in str(note)
    assert str(note).split(";")[0][:40] in (out / "training.html").read_text()
    train(run_of(writer, own, tmp_path / "start", **{**given, "max_steps": 1, "learning_rate": 0.0}))
    if kept == 0:
        assert_equal(weights(out), weights(tmp_path / "start"))


def test_without_an_outside_set_a_warning_is_given(
    writer: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(run_of(writer, prepared, tmp_path / "run", max_steps=1))
    assert "warning: no --outside_data" in capsys.readouterr().err
    few = write_prepared(tmp_path / "few", train=4, valid=3)
    with pytest.raises(InputError, match="3 patients in split valid; 5 or more can be watched"):
        train(run_of(writer, prepared, tmp_path / "other", outside_data=str(few)))
