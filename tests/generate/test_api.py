from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import cxrgen
from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import read_csv
from cxrgen.generate.given_images import as_files
from cxrgen.imaging.read import read_image
from cxrgen.imaging.stored import ImageRule, views_of_study


def test_one_study_reads_as_in_the_set(model: Path, prepared: Path, tmp_path: Path) -> None:
    writer = cxrgen.load(model, max_new_tokens=60)
    out = tmp_path / "pred.csv"
    given = ("--model-name", model, "--question-file", prepared, "--answers-file-pred", out, "--max-new-tokens", 60)
    assert main(["generate", *map(str, given)]) == 0
    reports = {row.cells["study_id"]: row.cells["report"] for row in read_csv(out).rows}
    images = {number: prepared / "images" / f"{number:03}-frontal.png" for number in range(14)}
    assert writer.report([images[3], prepared / "images" / "003-lateral.png"]) == reports["003"]
    assert writer.report(str(images[4]), indication="Cough.") == reports["004"]
    assert len({writer.report(image) for image in images.values()}) > 3


def test_the_command_prints_the_report(model: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [str(prepared / "images" / f"003-{view}.png") for view in ("frontal", "lateral")]
    command = ["generate", "--model-name", str(model), "--max-new-tokens", "60", "--images", *images]
    assert main(command) == 0
    alone = capsys.readouterr().out
    assert alone.strip() == cxrgen.load(model, max_new_tokens=60).report(images)
    assert main([*command, "--indication", "Cough."]) == 0
    assert capsys.readouterr().out != alone
    assert main([*command, "--prior", "Small effusion."]) == 2
    assert "states no prior-report" in capsys.readouterr().err


def kinds(paths: list[Path], said: list[str] | None) -> list[str]:
    return [view.view for view in views_of_study(paths, said, ImageRule())]


def test_what_images_show() -> None:
    paths = [Path("a.png"), Path("b.png")]
    assert kinds(paths, None) == ["frontal", "lateral"]
    assert kinds(paths, ["lateral", "other"]) == ["lateral", "other"]
    assert kinds(paths, ["LL", "PA"]) == ["lateral", "frontal"]
    for wrong in (["frontal"], ["frontal", "sideways"]):
        with pytest.raises(UsageError, match="--image-views"):
            kinds(paths, wrong)


def write_dicom(path: Path, position: str, seed: int) -> Path:
    """A 12-bit image of noise."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.Modality, image.ViewPosition = meta.MediaStorageSOPClassUID, "DX", position
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 96, 80, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = np.random.default_rng(seed).integers(0, 4096, (96, 80), dtype=np.uint16).tobytes()
    image.save_as(path)
    return path


def test_dicom_files_say_what_they_show(tmp_path: Path) -> None:
    positions = {"b": "LL", "a": "PA", "c": ""}
    paths = [write_dicom(tmp_path / name, position, 0) for name, position in positions.items()]
    assert kinds(paths, None) == ["lateral", "frontal", "unknown"]


def test_a_study_of_dicom_files_is_that_of_its_grey_images(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write_dicom(tmp_path / f"{kind}.dcm", kind, seed) for seed, kind in enumerate(("PA", "LL"))]
    for image in images:
        Image.fromarray(read_image(image).pixels).save(image.with_suffix(".png"))
    printed = []
    for suffix in (".dcm", ".png"):
        given = [str(image.with_suffix(suffix)) for image in images]
        command = ["generate", "--model-name", str(model), "--max-new-tokens", "60", "--images", *given]
        assert main(command) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].strip()


def test_a_image_that_is_none(model: Path, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_text("no image")
    writer = cxrgen.load(model)
    with pytest.raises(InputError, match=r"image\.png"):
        writer.report(tmp_path / "image.png")
    with pytest.raises(UsageError, match="without an image"):
        writer.report([])
    with pytest.raises(UsageError, match="engine auto"):
        cxrgen.load(model, engine="vllm")


def test_importing_the_package_does_not_import_torch() -> None:
    program = "import sys, cxrgen; cxrgen.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_images_in_memory_give_the_report_of_their_file(model: Path, prepared: Path) -> None:
    writer = cxrgen.load(model, max_new_tokens=40)
    files = [prepared / "images" / f"003-{view}.png" for view in ("frontal", "lateral")]
    pictures = [Image.open(file) for file in files]
    expected = writer.report(files)
    assert writer.report(pictures) == expected
    assert writer.report([np.asarray(picture) for picture in pictures]) == expected
    assert writer.report([files[0], pictures[1]]) == expected
    assert writer.report(pictures[0]) == writer.report(np.asarray(pictures[0])) == writer.report(files[0])


def test_images_in_memory_are_files_only_as_long_as_needed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 70))
    given = [noise.astype(np.uint8), noise.astype(np.uint16) * 16, noise / 255, Image.fromarray(noise.astype(np.uint8))]
    with as_files([*given, "x.png"]) as files:
        folder = files[0].parent
        assert folder.stat().st_mode & 0o077 == 0
        grey = [read_image(file).pixels for file in files[:4]]
        assert files[4] == Path("x.png")
    assert not folder.exists()
    assert all(pixels.shape == (80, 70) for pixels in grey)
    assert np.array_equal(grey[0], noise)
    assert np.array_equal(grey[3], noise)
    for wrong in (noise.astype(np.uint8)[0], noise.astype(bool), np.zeros((4, 80, 70), np.uint8), 3.5):
        with pytest.raises(UsageError), as_files([wrong]):  # type: ignore[list-item]
            pass
