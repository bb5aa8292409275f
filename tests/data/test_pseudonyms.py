from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.records import read_studies

Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def private(tmp_path: Path, write_film: Callable[..., Path], write_table: Callable[..., Path]) -> Path:
    """A hospital's export: names in ids and files, two studies of one patient, a film that is damaged."""
    rows = []
    for number in range(5):
        name = f"Mustermann-{number}.png"
        write_film(tmp_path / name, number)
        rows.append(
            (f"Mustermann-{number}", f"Erika-{number // 2}", name, "PA", f"195001{10 + number}", f"Synthetic {number}.")
        )
    write_film(tmp_path / "Mustermann-0b.png").write_bytes(b"")
    rows.append(("Mustermann-0", "Erika-0", "Mustermann-0b.png", "AP", "19500110", "Synthetic 0."))
    rows.append(("Mustermann-9", "Erika-9", "../Mustermann.png", "AP", "19500110", "Synthetic 9."))
    columns = ("study_id", "patient_id", "image", "view", "date", "findings")
    return write_table(tmp_path / "export.csv", columns, rows)


def all_bytes(folder: Path) -> bytes:
    import pyarrow.parquet as pq

    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    texts += [str(path.relative_to(folder)).encode() for path in folder.rglob("*")]
    return b"\n".join([*texts, str(pq.read_table(folder / "studies.parquet").to_pylist()).encode()])


def test_no_id_date_or_file_name_is_left(private: Path, tmp_path: Path, prepare: Prepare) -> None:
    out, key = tmp_path / "out", tmp_path / "key"
    code, said = prepare(private, "--out", out, "--pseudonyms", key, "--max-rejects", "100%")
    assert code == 0, said
    held = all_bytes(out) + said.encode().replace(str(tmp_path).encode(), b"")
    for word in (b"Mustermann", b"Erika", b"1950"):
        assert word not in held
    assert b"export.csv:8" in held, "the line of a table names nobody"
    assert key.stat().st_mode & 0o077 == 0


def test_the_same_key_gives_the_same_names_and_order(private: Path, tmp_path: Path, prepare: Prepare) -> None:
    told = ("--max-rejects", "100%", "--valid-share", "0", "--test-share", "0")
    for name, key in (("a", "key"), ("b", "key"), ("c", "other")):
        assert prepare(private, "--out", tmp_path / name, "--pseudonyms", tmp_path / key, *told)[0] == 0
    a, b, c = ([study.study_id for study in read_studies(tmp_path / name)] for name in "abc")
    assert a == b
    assert not set(a) & set(c)
    studies = read_studies(tmp_path / "a")
    assert [study.order_key for study in studies] == ["0000", "0001", "0000", "0001", "0000"]
    assert studies[1].prior_study_id == studies[0].study_id
    assert studies[0].subject_id == studies[1].subject_id != studies[2].subject_id


@pytest.mark.parametrize("place", ["out/key", "short"])
def test_a_key_that_protects_nothing_is_refused(private: Path, tmp_path: Path, prepare: Prepare, place: str) -> None:
    (tmp_path / "short").write_text("1234")
    code, said = prepare(private, "--out", tmp_path / "out", "--pseudonyms", tmp_path / place)
    assert code == 1
    assert "the secret" in said
    assert not (tmp_path / "out").exists()
