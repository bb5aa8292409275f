from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def private(tmp_path: Path, write_image: Callable[..., Path], write_table: Callable[..., Path]) -> Path:
    """A hospital's export: names in ids and files, two studies of one patient, an image that is damaged."""
    rows = []
    for number in range(5):
        name = f"Mustermann-{number}.png"
        write_image(tmp_path / name, number)
        rows.append(
            (f"Mustermann-{number}", f"Erika-{number // 2}", name, "PA", f"195001{10 + number}", f"Synthetic {number}.")
        )
    write_image(tmp_path / "Mustermann-0b.png").write_bytes(b"")
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
    for word in (b"Mustermann", b"Erika", b"195001", b"1950-01"):  # hashes hold a "1950" now and then
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


PRIVATE = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "KH-4711-0815",
    "PatientBirthDate": "19500101",
    "AccessionNumber": "ACC998877",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.4711",
    "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.4712",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Doktor^Hans",
    "StudyDate": "20210304",
    "StudyTime": "112233",
    "PatientAge": "097Y",
}


@pytest.fixture
def export(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """A hospital's DICOM export: names in tags, folders and files, and one file that is damaged."""
    import numpy as np
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder = tmp_path / "export" / "Mustermann_Erika"
    folder.mkdir(parents=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = PRIVATE["SOPInstanceUID"]
    for tag, value in PRIVATE.items():
        setattr(dataset, tag, value)
    image = np.asarray(Image.open(write_image(tmp_path / "image.png", 1))).astype(np.uint16) * 16
    dataset.Modality, dataset.ViewPosition, dataset.PhotometricInterpretation = "DX", "PA", "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = image.tobytes()
    dataset.save_as(folder / "ACC998877.dcm", enforce_file_format=True)
    (folder / "ACC998877_2.dcm").write_bytes((folder / "ACC998877.dcm").read_bytes()[:900])
    (folder / "ACC998877.txt").write_text("FINDINGS: Synthetic heart.\n")
    return folder.parent


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_no_tag_value_on_the_screen_in_open_files_or_in_names(
    export: Path, tmp_path: Path, prepare: Prepare, pseudonyms: bool
) -> None:
    out = tmp_path / "out"
    told = ("--pseudonyms", tmp_path / "key") if pseudonyms else ()
    code, said = prepare(export, "--out", out, "--max-rejects", "100%", *told)
    assert code == 0, said
    assert [study.report for study in read_studies(out)] == ["Synthetic heart."]
    names = "\n".join(str(path.relative_to(out)) for path in out.rglob("*"))
    shown = said + names + (out / "card.json").read_text() + (out / "recipe.json").read_text()
    if pseudonyms:
        shown += all_bytes(out).decode(errors="replace")
    if pseudonyms:
        assert read_studies(out)[0].age == 90
    values = [*PRIVATE.values(), "Mustermann", "Erika", "ACC998877", "Synthetic heart" if not pseudonyms else "Hans"]
    assert [value for value in values if value in shown] == []
