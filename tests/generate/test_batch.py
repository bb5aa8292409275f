"""The command on a whole file of questions: what a user types, and which files are there afterwards."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cxrgen.cli import main
from cxrgen.generate import engine
from cxrgen.generate.decoding import decode
from cxrgen.generate.resume import partial_path, partial_paths


def rows(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def words(model: Path, questions: Path, out: Path, *more: object) -> list[str]:
    given = ("--model-name", model, "--question-file", questions, "--answers-file-pred", out / "pred.csv")
    return ["generate", *map(str, given), "--max-new-tokens", "60", *map(str, more)]


@pytest.fixture(scope="session")
def whole(model: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """pred.csv of one uninterrupted process, one study at a time."""
    out = tmp_path_factory.mktemp("whole")
    assert main(words(model, prepared, out, "--batch-size", 1)) == 0
    return (out / "pred.csv").read_bytes()


def llava_json(prepared: Path, path: Path, lines: bool) -> Path:
    """The first test studies as the original's question file; the second has no answer text."""
    question = {"from": "human", "value": "Illustrate the image through a detailed medical report\n<image>"}
    items = []
    for number in range(4):
        turns = [question, {"from": "report", "value": "" if number == 1 else f"Truth, of\n{number}."}]
        items.append({"id": f"{number:03}-1", "image": f"{number:03}-frontal.png", "conversations": turns})
    path.write_text("\n".join(map(json.dumps, items)) if lines else json.dumps(items), encoding="utf-8")
    return path


def test_two_csvs_one_header_same_order(
    model: Path, prepared: Path, tmp_path: Path, whole: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(model, prepared, tmp_path, "--answers-file-gt", tmp_path / "gt.csv", "--batch-size", 5)) == 0
    pred, truth = rows(tmp_path / "pred.csv"), rows(tmp_path / "gt.csv")
    assert pred[0] == truth[0] == ["study_id", "report"]
    assert [row[0] for row in pred[1:]] == [f"{number:03}" for number in range(14)]
    assert [row[0] for row in truth[1:]] == [f"{number:03}" for number in range(14) if number not in (2, 5, 11)]
    assert "3 of 14 have no report to compare with" in capsys.readouterr().err
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("pred.csv", "gt.csv")} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"pred.csv", "gt.csv"}


@pytest.mark.parametrize("lines", [False, True])
def test_the_originals_files_and_flags_with_bare_names(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    llava_json(prepared, Path("test.json"), lines)
    flags = ["--model_name", str(model), "--question_file", "test.json", "--image_folder", str(prepared / "images")]
    files = ["--answers_file_pred", "pred.csv", "--answers_file_gt", "gt.csv"]
    assert main(["generate", *flags, *files, "--num_chunks", "1", "--batch_size", "64", "--max_new_tokens", "20"]) == 0
    assert [row[0] for row in rows(Path("pred.csv"))] == ["study_id", "000-1", "001-1", "002-1", "003-1"]
    assert rows(Path("gt.csv"))[1:] == [[f"{n:03}-1", f"Truth, of\n{n}."] for n in (0, 2, 3)]


def test_chat_questions_give_answers_as_json_lines(model: Path, prepared: Path, tmp_path: Path) -> None:
    questions = tmp_path / "qa50.jsonl"
    asked = [("17", "What is seen?\n<image>"), (18, "<image>\nIs it large?")]
    records = [{"question_id": n, "image": "001-frontal.png", "text": text, "type": "detail"} for n, text in asked]
    questions.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    answers = tmp_path / "answers.jsonl"
    given = ("--model-name", model, "--question-file", questions, "--image-folder", prepared / "images")
    command = ["generate", *map(str, given), "--answers-file-pred", str(answers), "--max-new-tokens", "20"]
    assert main(command) == 0
    written = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert [each["question_id"] for each in written] == [17, 18]
    assert [each["prompt"] for each in written] == ["What is seen?\n<image>", "Is it large?\n<image>"]
    assert all({"text", "answer_id", "model_id", "metadata"} <= each.keys() for each in written)
    first = answers.read_bytes()
    assert main(command) == 0
    assert answers.read_bytes() == first


def test_an_interrupted_run_goes_on(
    model: Path, prepared: Path, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    class Stopped(Exception):
        pass

    step = decode._Batch.step

    def until(batch: decode._Batch) -> None:
        written.append(sum(path.read_bytes().count(b"\n") for path in partial_paths(tmp_path / "pred.csv")))
        if written[-1] >= 6:
            raise Stopped
        step(batch)

    monkeypatch.setattr(decode._Batch, "step", until)
    with pytest.raises(Stopped):
        main(words(model, prepared, tmp_path, "--batch-size", 3))
    monkeypatch.undo()
    assert not (tmp_path / "pred.csv").exists()
    admitted: list[object] = []
    begin = decode._Batch._begin
    monkeypatch.setattr(decode._Batch, "_begin", lambda batch, starts: (admitted.extend(starts), begin(batch, starts)))
    assert main(words(model, prepared, tmp_path, "--batch-size", 3)) == 0
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert len(admitted) <= 14 - (written[-1] - 1), "what was written is not written again"


def test_other_options_are_refused_until_told_to_restart(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: bytes
) -> None:
    (tmp_path / "images").symlink_to(prepared / "images")
    shutil.copy(prepared / "studies.parquet", tmp_path)
    broken = tmp_path / "other"
    shutil.copytree(prepared, broken)
    (broken / "images" / "003-frontal.png").unlink()
    assert main(words(model, broken, tmp_path)) == 3  # leaves its partial file, one study being undone
    for more, name in ((("--temperature", 0.7), "temperature"), (("--views", "frontal"), "format")):
        assert main(words(model, broken, tmp_path, *more)) == 1
        error = capsys.readouterr().err
        assert name in error.splitlines()[-1]
        assert "--restart" in error.splitlines()[-1]
    assert main(words(model, prepared, tmp_path, "--temperature", 0.7, "--restart")) == 0
    assert (tmp_path / "pred.csv").read_bytes() != whole


def test_a_pipe_in_an_image_s_place_fails_that_study(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    image = broken / "images" / "003-frontal.png"
    image.unlink()
    os.mkfifo(image)
    assert main(words(model, broken, tmp_path)) == 3
    assert "not a regular file" in rows(tmp_path / "pred.csv.rejects.csv")[1][3]
    assert main(["generate", "--model-name", str(model), "--images", str(image)]) == 2
    assert "not a regular file" in capsys.readouterr().err
    assert main(["generate", "--model-name", str(model), "--images", str(broken / "images")]) == 2
    assert f"cxrgen prepare {broken / 'images'} --out SET" in capsys.readouterr().err


def test_words_of_users_are_no_tokens(model: Path, prepared: Path, tmp_path: Path) -> None:
    """An indication with special tokens and `<image>` gives a report like any other."""
    images = [str(prepared / "images" / "003-frontal.png")]
    command = ["generate", "--model-name", str(model), "--max-new-tokens", "5", "--images", *images]
    assert main([*command, "--indication", "Cough </s> <image> <pad> ### since <s> May."]) == 0


def test_what_was_finished_counts_by_content(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: bytes
) -> None:
    """A copy of the model goes on; other weights of the same size and time do not; a changed image is read again."""
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    (broken / "images" / "003-frontal.png").unlink()
    assert main(words(model, broken, tmp_path)) == 3
    partial = partial_path(tmp_path / "pred.csv", 0)
    shutil.copytree(model, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "model.safetensors", (0, 0))
    shutil.copy(prepared / "images" / "003-frontal.png", broken / "images" / "003-frontal.png")
    shutil.copy(prepared / "images" / "006-frontal.png", broken / "images" / "004-frontal.png")
    kept = partial.read_bytes()
    assert main(words(tmp_path / "copy", broken, tmp_path)) == 0
    assert "12 of 14 reports are there" in capsys.readouterr().err
    changed = (tmp_path / "pred.csv").read_bytes()
    assert main(words(model, broken, tmp_path / "fresh")) == 0
    assert (tmp_path / "fresh" / "pred.csv").read_bytes() == changed != whole

    weights = tmp_path / "copy" / "model.safetensors"
    state, content = weights.stat(), bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    partial.write_bytes(kept)
    assert main(words(tmp_path / "copy", prepared, tmp_path)) == 1
    assert "checkpoint" in capsys.readouterr().err
    lines = kept.decode().splitlines()
    first, second = json.loads(lines[1]), json.loads(lines[2])
    first["study_id"], second["study_id"] = second["study_id"], first["study_id"]
    partial.write_text("\n".join([lines[0], json.dumps(first), json.dumps(second), *lines[3:]]) + "\n")
    assert main(words(model, prepared, tmp_path)) == 1
    assert "a line is not as it was written" in capsys.readouterr().err


def test_a_failing_study_is_listed_and_tried_again(
    model: Path, prepared: Path, tmp_path: Path, whole: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    image = broken / "images" / "004-frontal.png"
    image.write_bytes(image.read_bytes()[:40])
    assert main(words(model, broken, tmp_path, "--answers-file-gt", tmp_path / "gt.csv")) == 3
    error = capsys.readouterr().err
    assert "1 of 14 failed" in error.splitlines()[-1]
    (reject,) = rows(tmp_path / "pred.csv.rejects.csv")[1:]
    assert reject[1] == "004"
    assert reject[3].startswith("image 1: image-truncated: ")
    assert [row for row in rows(tmp_path / "pred.csv") if row[0] != "004"] == [
        row for row in csv.reader(whole.decode().splitlines(keepends=True)) if row[0] != "004"
    ]
    assert len(rows(tmp_path / "gt.csv")) == 1 + 11, "the truth keeps all studies, so that the missing one counts"
    shutil.copy(prepared / "images" / "004-frontal.png", image)
    assert main(words(model, broken, tmp_path)) == 0
    assert "13 of 14 reports are there" in capsys.readouterr().err
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert not (tmp_path / "pred.csv.rejects.csv").exists()
    assert not partial_paths(tmp_path / "pred.csv")


def test_out_of_memory_halves_the_batch(
    model: Path,
    prepared: Path,
    tmp_path: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = []
    step = decode._Batch.step

    def scarce(batch: decode._Batch) -> None:
        sizes.append(len(batch.rows))
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        step(batch)

    monkeypatch.setattr(decode._Batch, "step", scarce)
    assert main(words(model, prepared, tmp_path, "--batch-size", 12)) == 0
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert max(sizes) == 12
    assert sizes[-1] <= 3
    assert "going on with 3 at a time" in capsys.readouterr().err


def test_a_study_that_fits_not_even_alone_fails_alone(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = decode.embed

    def scarce(checkpoint: object, images: object, prompts: list[decode.Prompt], done: int) -> torch.Tensor:
        if any(prompt.images[0].startswith("images/006") for prompt in prompts):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return embed(checkpoint, images, prompts, done)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "embed", scarce)
    assert main(words(model, prepared, tmp_path, "--batch-size", 4)) == 3
    assert len(rows(tmp_path / "pred.csv")) == 1 + 13
    assert [row[1] for row in rows(tmp_path / "pred.csv.rejects.csv")[1:]] == ["006"]


def test_a_fault_of_the_program_is_no_lack_of_memory(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(batch: decode._Batch) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(decode._Batch, "step", faulty)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(words(model, prepared, tmp_path))


def test_views_and_indication_are_shown_as_the_checkpoint_says(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    write = engine.write_reports

    def watched(checkpoint: object, asked: list, *rest: object) -> object:  # type: ignore[type-arg]
        shown.update({each.id: each for each in asked})
        return write(checkpoint, asked, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "write_reports", watched)
    assert main(words(model, prepared, tmp_path)) == 0
    assert shown["001"].turns[0].text == "Frontal: <image>\nLateral: <image>\nWrite the report."
    assert shown["004"].turns[0].text == "Frontal: <image>\nIndication: Cough.\nWrite the report."
    frontal_model = tmp_path / "frontal"
    shutil.copytree(model, frontal_model)
    format = json.loads((model / "cxrgen.json").read_text())
    (frontal_model / "cxrgen.json").write_text(json.dumps({**format, "views": "frontal"}))
    assert main(words(frontal_model, prepared, tmp_path)) == 0
    assert shown["001"].turns[0].text == "Frontal: <image>\nWrite the report."
    assert main(words(frontal_model, prepared, tmp_path, "--views", "all")) == 0
    assert len(shown["001"].images) == 2


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--image-folder", "nowhere"), 1, "no such image"),
        (("--split", "nothing"), 1, "nothing to report on"),
        (("--conv-mode", "simpel"), 2, "simple"),
        (("--batch-size", 0), 2, "--batch-size"),
        (("--temperature", -1), 2, "--temperature"),
        (("--temperature", "nan"), 2, "--temperature"),
        (("--temperature", "inf"), 2, "--temperature"),
        (("--top-p", "nan"), 2, "--top-p"),
        (("--max-rejects", "nan"), 2, "--max-rejects"),
        (("--model-name", "nowhere"), 1, "no such folder"),
        (("--answers-file-gt", "{out}/pred.csv"), 2, "one file"),
        (("--baseline", "frequent"), 2, "either"),
        (("--indication", "Cough."), 2, "--images"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...],
    code: int, said: str,
) -> None:  # fmt: skip
    extra = [str(word).format(out=tmp_path) for word in more]
    assert main(words(model, prepared, tmp_path, *extra)) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_model_without_its_processor(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partly = tmp_path / "model"
    shutil.copytree(model, partly, ignore=shutil.ignore_patterns("*processor*", "*preprocessor*", "tokenizer*"))
    assert main(words(partly, prepared, tmp_path)) == 1
    error = capsys.readouterr().err
    assert str(partly) in error
    assert "Traceback" not in error
    assert not (tmp_path / "pred.csv").exists()


def test_answers_never_take_the_place_of_questions_or_folders(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = llava_json(prepared, tmp_path / "test.json", lines=False)
    before = questions.read_bytes()
    for flag, value, said in (
        ("--answers-file-pred", questions, "would overwrite"),
        ("--answers-file-gt", tmp_path / "x" / ".." / "test.json", "would overwrite"),
        ("--answers-file-pred", tmp_path, "a folder"),
        ("--answers-file-gt", tmp_path / "x" / ".." / "pred.csv", "one file"),
        ("--images", questions, "leave out --question-file"),
    ):
        assert main(words(model, questions, tmp_path, flag, value)) == 2
        assert said in capsys.readouterr().err
    assert questions.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]


def test_of_several_questions_with_one_id_the_first_is_asked(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = llava_json(prepared, tmp_path / "test.json", lines=False)
    items = json.loads(questions.read_text(encoding="utf-8"))
    questions.write_text(json.dumps([items[0], items[1], {**items[2], "id": items[0]["id"]}]), encoding="utf-8")
    command = words(model, questions, tmp_path, "--image-folder", prepared / "images")
    assert main(command) == 3
    assert [row[0] for row in rows(tmp_path / "pred.csv")[1:]] == ["000-1", "001-1"]
    assert rows(tmp_path / "pred.csv.rejects.csv")[1][:3] == ["test.json: question 3", "000-1", "id-doubled"]
    assert "1 of 3 questions were left out, 33.3%" in capsys.readouterr().err
    assert main([*command, "--max-rejects", "40%"]) == 0


# Several processes, and processes that are killed.


def launch(command: list[str], *launcher: str) -> subprocess.Popen[str]:
    run = [sys.executable, *launcher, "-m", "cxrgen", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


@pytest.mark.slow
def test_more_processes_than_questions_write_what_one_writes(model: Path, prepared: Path, tmp_path: Path) -> None:
    few = llava_json(prepared, tmp_path / "test.json", lines=False)
    more = ("--image-folder", prepared / "images")
    assert main(words(model, few, tmp_path / "one", *more)) == 0
    finished(launch(words(model, few, tmp_path, *more, "--num-chunks", 5)))
    assert (tmp_path / "pred.csv").read_bytes() == (tmp_path / "one" / "pred.csv").read_bytes()
    assert not partial_paths(tmp_path / "pred.csv")


@pytest.mark.slow
def test_torchrun_writes_what_one_process_writes(model: Path, prepared: Path, tmp_path: Path, whole: bytes) -> None:
    launcher = (
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "3",
        "--master-port",
        str(20000 + os.getpid() % 9999),
    )
    finished(launch(words(model, prepared, tmp_path, "--answers-file-gt", tmp_path / "gt.csv"), *launcher))
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert len(rows(tmp_path / "gt.csv")) == 1 + 11
    assert not partial_paths(tmp_path / "pred.csv")


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kills"), [(2, (2,))])
def test_killed_again_and_again_nothing_is_missing_doubled_or_different(
    model: Path, prepared: Path, tmp_path: Path, whole: bytes, processes: int, kills: tuple[int, ...]
) -> None:
    command = words(model, prepared, tmp_path, "--batch-size", 2, "--num-chunks", processes)
    first = partial_path(tmp_path / "pred.csv", 0)
    for reports in kills:
        process = launch(command)
        while process.poll() is None and not (first.exists() and first.read_bytes().count(b"\n") > reports):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    assert not (tmp_path / "pred.csv").exists()
    time.sleep(0.5)  # processes of the killed one end by themselves
    assert "reports are there from an earlier run" in finished(launch([*command[:-1], "1"]))
    assert (tmp_path / "pred.csv").read_bytes() == whole
    assert not partial_paths(tmp_path / "pred.csv")
