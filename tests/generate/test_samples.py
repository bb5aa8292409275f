"""Several reports a study: the same however they are written, written once, and one of them chosen."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest
import torch
from tests.tiny_models import TINY_MODELS

from cxrgen.cli import main
from cxrgen.core.candidates import read_candidates
from cxrgen.core.records import Conversation
from cxrgen.generate.decoding import decode
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.generate.decoding.sampling import make_sampler
from cxrgen.generate.decoding.static_batches import write_in_static_batches
from cxrgen.generate.resume import partial_paths
from cxrgen.generate.samples import sampled
from cxrgen.metrics.consensus import consensus, read_utility
from cxrgen.model.checkpoint import Checkpoint, open_model_folder
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.pixels import image_pixels

MOST = 40
HOT = make_sampler(0.8, 0.95, seed=5)


def words(model: Path, questions: Path, out: Path, *more: object) -> list[str]:
    given = ("--model-name", model, "--question-file", questions, "--answers-file-pred", out / "pred.csv")
    how = ("--max-new-tokens", MOST, "--samples", 4, "--temperature", 0.8, "--top-p", 0.95, "--seed", 5)
    return ["generate", *map(str, (*given, *how, *more))]


def reports(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.study_id, each.reports) for each in read_candidates(path / "predictions.jsonl")]


@pytest.fixture(scope="module")
def whole(model: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four samples of each study by one process, a row at a time."""
    out = tmp_path_factory.mktemp("samples")
    assert main(words(model, prepared, out, "--batch-size", 1)) == 0
    return out


@pytest.mark.parametrize(
    "how",
    [
        ("--batch-size", 3),
        ("--batch-size", 64),
        pytest.param(("--batch-size", 5, "--num-chunks", 2), marks=pytest.mark.slow),
    ],
)
def test_samples_depend_on_neither_batch_nor_processes(
    model: Path, prepared: Path, tmp_path: Path, whole: Path, how: tuple[object, ...]
) -> None:
    assert main(words(model, prepared, tmp_path, *how)) == 0
    assert reports(tmp_path) == reports(whole)
    assert len({text for _, texts in reports(whole) for text in texts}) > 40
    assert (tmp_path / "pred.csv").read_text() == (whole / "pred.csv").read_text()
    for mine, theirs in zip(*(read_candidates(folder / "predictions.jsonl") for folder in (tmp_path, whole))):
        assert mine.log_probabilities == pytest.approx(theirs.log_probabilities, abs=2e-4)
    assert stat.S_IMODE((tmp_path / "predictions.jsonl").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"pred.csv", "predictions.jsonl"}


def test_the_first_sample_is_the_report_of_a_plain_run(
    model: Path, prepared: Path, tmp_path: Path, whole: Path
) -> None:
    command = words(model, prepared, tmp_path)
    at = command.index("--samples")
    assert main([*command[:at], *command[at + 2 :]]) == 0
    with open(tmp_path / "pred.csv", encoding="utf-8", newline="") as file:
        assert [(row["study_id"], row["report"]) for row in csv.DictReader(file)] == [
            (study, texts[0]) for study, texts in reports(whole)
        ]


def test_an_interrupted_run_goes_on(
    model: Path, prepared: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = decode._Batch.step

    def until(batch: decode._Batch) -> None:
        if sum(path.read_bytes().count(b"\n") for path in partial_paths(tmp_path / "pred.csv")) >= 10:
            raise KeyboardInterrupt
        step(batch)

    monkeypatch.setattr(decode._Batch, "step", until)
    assert main(words(model, prepared, tmp_path, "--batch-size", 3)) == 130
    monkeypatch.undo()
    started: list[object] = []
    begin = decode._Batch._begin
    monkeypatch.setattr(decode._Batch, "_begin", lambda batch, starts: (started.extend(starts), begin(batch, starts)))
    assert main(words(model, prepared, tmp_path, "--batch-size", 8)) == 0
    assert len(started) <= 14 * 4 - 9, "what was written is not written again"
    assert reports(tmp_path) == reports(whole)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_each_study_s_prompt_is_computed_once(
    checkpoint: Checkpoint,
    asked: tuple[Path, list[Conversation]],
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, conversations = asked[0], asked[1][:7]
    computed: list[int] = []
    prefill = decode._Batch._compute

    def counted(batch: decode._Batch, slots: list[int], prompts: list[decode.Prompt]) -> torch.Tensor:
        computed.extend(prompt.number // 5 for prompt in prompts)
        return prefill(batch, slots, prompts)

    monkeypatch.setattr(decode._Batch, "_compute", counted)
    written = dict(write_reports(checkpoint, sampled(conversations, 5), folder, batch_size, MOST, HOT))
    assert sorted(computed) == list(range(7))
    assert len(written) == 35


def test_log_probabilities_are_the_model_s_own(checkpoint: Checkpoint, asked: tuple[Path, list[Conversation]]) -> None:
    """Against one forward pass over prompt and answer, its end token included."""
    folder, question = asked[0], asked[1][2]
    tokenizer, model = checkpoint.tokenizer, checkpoint.model.eval()
    prompt = list(encode_prompt(question.turns, tokenizer, checkpoint.format))
    pixels = image_pixels(
        [folder / name for name in question.images], checkpoint.processor.image_processor, checkpoint.format
    )
    kept: dict[int, list[int]] = {}
    finished = decode._Batch.finished

    def watched(batch: decode._Batch) -> list[decode._Row]:
        rows = list(finished(batch))
        kept.update({row.number: row.answer for row in rows})
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode._Batch, "finished", watched)
        written = dict(write_reports(checkpoint, sampled([question], 3), folder, 2, MOST, HOT, scored=True))
    for number, prediction in written.items():
        ids = torch.tensor([[*prompt, *kept[number]]])
        with torch.no_grad():
            logits = model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits[0]
        own = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, ids[0, len(prompt) :, None])
        assert prediction.log_probability == pytest.approx(float(own.mean()), abs=1e-4)


def test_other_classes_write_the_same_samples_in_any_batch(
    tmp_path: Path, asked: tuple[Path, list[Conversation]]
) -> None:
    checkpoint = open_model_folder(TINY_MODELS["qwen2_vl"](tmp_path / "model"))
    folder, conversations = asked[0], [each for each in asked[1] if each.images][:3]
    rows = sampled(conversations, 3)
    how = (rows, folder)
    one, many = (dict(write_in_static_batches(checkpoint, *how, size, 12, HOT, scored=True)) for size in (1, 5))
    assert [many[number].report for number in sorted(many)] == [one[number].report for number in sorted(one)]
    assert len({each.report for each in one.values()}) > 6
    for number, prediction in one.items():
        assert prediction.log_probability == pytest.approx(many[number].log_probability, abs=1e-4)
        assert -20 < (prediction.log_probability or 0) < 0


def test_the_csv_holds_the_consensus_and_how_sure_it_is(
    model: Path, prepared: Path, tmp_path: Path, whole: Path
) -> None:
    assert main(words(model, prepared, tmp_path, "--utility", "rouge_l+rule", "--choose", "consensus")) == 0
    studies = read_candidates(tmp_path / "predictions.jsonl")
    expected = consensus([study.reports for study in studies], read_utility("rouge_l+rule"))
    with open(tmp_path / "pred.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row, study, (best, sure) in zip(found, studies, expected):
        assert (row["study_id"], row["report"]) == (study.study_id, study.reports[best])
        assert row["confidence"] == f"{sure:.4f}"
    again = tmp_path / "again.csv"
    assert main(["choose", str(tmp_path / "predictions.jsonl"), "--utility", "rouge_l+rule", "--out", str(again)]) == 0
    assert again.read_bytes() == (tmp_path / "pred.csv").read_bytes()


def test_a_study_whose_image_is_lost_is_listed_once(
    model: Path, prepared: Path, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "studies.parquet").write_bytes((prepared / "studies.parquet").read_bytes())
    (broken / "images").mkdir()
    for path in (prepared / "images").iterdir():
        if path.name != "003-frontal.png":
            (broken / "images" / path.name).write_bytes(path.read_bytes())
    assert main(words(model, broken, tmp_path)) == 3
    assert "1 of 14 failed" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "pred.csv.rejects.csv").read_text().count("\n") == 2
    assert reports(tmp_path) == [each for each in reports(whole) if each[0] != "003"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--samples", 1), "--samples is 2 or more"),
        (("--temperature", 0), "needs --temperature above 0"),
        (("--choose", "likeliest", "--utility", "rule"), "--utility is for --choose consensus"),
        (("--utility", "bertscore"), "cxrgen choose"),
        (("--samples", 0, "--choose", "likeliest"), "give --samples N"),
        (("--answers-file-pred", "x.jsonl"), "name a CSV"),
        (("--answers-file-pred", "x.json", "--answers-format", "rexrank"), "has no place for samples"),
    ],
)
def test_what_means_nothing_is_refused(
    model: Path,
    prepared: Path,
    tmp_path: Path,
    more: tuple[object, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words(model, prepared, tmp_path), *map(str, more)]) == 2
    assert message in capsys.readouterr().err


def test_a_line_of_the_file_is_plain_json(whole: Path) -> None:
    line = json.loads((whole / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(line) == {"study_id", "samples", "log_probabilities"}
    assert len(line["samples"]) == len(line["log_probabilities"]) == 4
    assert all(-20 < value < 0 for value in line["log_probabilities"])
