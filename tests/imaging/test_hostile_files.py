"""Pixel data, tags and files of users are data: whatever is in them, every door ends with a code and a line.

Files are written byte by byte, so that tags hold what no writer would write. A name stands in each of them, and must
not come out of any door.
"""

from __future__ import annotations

import os
import struct
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.imaging.dicoms import image, saved, values
from tests.train.material import small

import cxrgen
from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.imaging.names import RENDERINGS
from cxrgen.imaging.read import read_image, read_image_tags
from cxrgen.imaging.rejects import ImageReject
from cxrgen.train.pipeline import train

NAME = "Zwetschgenbaum"
Tag = tuple[int, int]  # group, element
PIXELS = (0x7FE0, 0x0010)
# tag -> (type, value) of a picture that can be read; any of them may be replaced
GOOD: dict[Tag, tuple[bytes, bytes]] = {
    (0x0008, 0x0008): (b"CS", b"ORIGINAL\\PRIMARY"),
    (0x0008, 0x0016): (b"UI", b"1.2.840.10008.5.1.4.1.1.1.1\0"),
    (0x0008, 0x0060): (b"CS", b"DX"),
    (0x0008, 0x0068): (b"CS", b"FOR PRESENTATION"),
    (0x0010, 0x0010): (b"PN", NAME.encode()),
    (0x0018, 0x0015): (b"CS", b"CHEST "),
    (0x0018, 0x5101): (b"CS", b"PA"),
    (0x0020, 0x000D): (b"UI", b"1.2.3\0"),
    (0x0020, 0x0020): (b"CS", b"L\\F "),
    (0x0028, 0x0002): (b"US", struct.pack("<H", 1)),
    (0x0028, 0x0004): (b"CS", b"MONOCHROME2 "),
    (0x0028, 0x0008): (b"IS", b"1 "),
    (0x0028, 0x0010): (b"US", struct.pack("<H", 96)),
    (0x0028, 0x0011): (b"US", struct.pack("<H", 80)),
    (0x0028, 0x0100): (b"US", struct.pack("<H", 16)),
    (0x0028, 0x0101): (b"US", struct.pack("<H", 12)),
    (0x0028, 0x0102): (b"US", struct.pack("<H", 11)),
    (0x0028, 0x0103): (b"US", struct.pack("<H", 0)),
    (0x0028, 0x0120): (b"US", struct.pack("<H", 0)),
    (0x0028, 0x0121): (b"US", struct.pack("<H", 0)),
    (0x0028, 0x1050): (b"DS", b"2048"),
    (0x0028, 0x1051): (b"DS", b"4096"),
    (0x0028, 0x1052): (b"DS", b"0 "),
    (0x0028, 0x1053): (b"DS", b"1 "),
    (0x0028, 0x1056): (b"CS", b"LINEAR"),
    (0x0028, 0x3000): (b"SQ", b""),
    (0x0028, 0x3010): (b"SQ", b""),
    (0x2050, 0x0020): (b"CS", b"IDENTITY"),
    PIXELS: (b"OW", values().tobytes()),
}
LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
TYPES = (b"CS", b"DS", b"IS", b"US", b"SS", b"LO", b"PN", b"UI", b"FD", b"FL", b"UL", b"AT", b"DA", *LONG, b"ZZ")
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3")


def element(tag: Tag, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    said = len(value) if length is None else length
    head = struct.pack("<HH2s", *tag, kind)
    return head + (struct.pack("<HI", 0, said) if kind in LONG else struct.pack("<H", said % 65536)) + value


def file_of(
    tags: dict[tuple[int, int], tuple[bytes, bytes]], syntax: str = SYNTAXES[0], cut: int | None = None
) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element((2, 0x10), b"UI", uid)
    head = bytes(128) + b"DICM" + element((2, 0), b"UL", struct.pack("<I", len(meta))) + meta
    return (head + b"".join(element(tag, *tags[tag]) for tag in sorted(tags)))[:cut]


WORDS = st.one_of(
    st.binary(max_size=24),
    st.sampled_from(
        [b"", b"\\", b"0", b"-1", b"1e400", b"nan", b"1\\2\\3", b"9" * 16, b"65535 ", NAME.encode(), b"\xff" * 8]
        + [struct.pack("<H", value) for value in (0, 1, 8, 12, 15, 16, 32, 255, 4096, 65535)]
        + [element((0xFFFE, 0xE000), b"UN", b"")[:4] + struct.pack("<I", 0)]
    ),
)
FUZZED = st.builds(
    lambda changes, dropped, syntax, cut: file_of(
        {tag: value for tag, value in {**GOOD, **changes}.items() if tag not in dropped}, syntax, cut
    ),
    st.dictionaries(st.sampled_from(sorted(GOOD)), st.tuples(st.sampled_from(TYPES), WORDS), min_size=1, max_size=6),
    st.sets(st.sampled_from(sorted(GOOD)), max_size=3),
    st.sampled_from((SYNTAXES[0],) * 4 + SYNTAXES),
    st.sampled_from([None] * 6 + [400, 900, 5000]),
)


def test_the_file_that_is_changed_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(file_of(GOOD))
    shown = read_image(tmp_path / "a.dcm")
    assert np.abs(shown.pixels - values() / 4095 * 255).max() <= 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=FUZZED, rendering=st.sampled_from(RENDERINGS))
def test_any_tags_are_read_or_refused(content: bytes, rendering: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    tags = read_image_tags(path)
    assert tags is not None
    try:
        shown = read_image(path, rendering)
        assert (shown.pixels.dtype, shown.pixels.ndim) == (np.uint8, 2)
        said = " ".join(shown.notes)
    except ImageReject as reject:
        said = str(reject)
    assert "\n" not in said
    assert NAME not in said


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a few thousand weights, trained for a step on a prepared set."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "export").mkdir()
    for number in range(3):
        grey = np.random.default_rng(number).integers(0, 256, (96, 80), dtype=np.uint8)
        Image.fromarray(grey).save(folder / "export" / f"{number}.png")
    rows = "".join(f"{number}.png,{number},train,No effusion {number}.\n" for number in range(3))
    (folder / "export" / "reports.csv").write_text("image,study_id,split,findings\n" + rows)
    command = ["prepare", folder / "export", "--out", folder / "set", "--workers", 1, "--no-frontal", "keep"]
    assert main([*map(str, command)]) == 0
    train(small(folder / "set", folder / "run", max_steps=1, save_strategy="no"))
    return folder / "run"


DOORS = ("prepare", "images")


def through(door: str, files: list[Path], model: Path, out: Path) -> int:
    """The exit code of a command that reads these files."""
    if door == "images":
        command = ["generate", "--model-name", model, "--max-new-tokens", 2, "--images", *files]
    else:
        command = ["prepare", files[0].parent, "--kind", "dicom", "--out", out, "--workers", 1, "--force"]
    return main([*map(str, command)])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(contents=st.lists(FUZZED, min_size=1, max_size=2))
@pytest.mark.parametrize("door", DOORS)
def test_the_commands_end_with_a_code_and_a_line(
    door: str, contents: list[bytes], model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir(exist_ok=True)
    files = [tmp_path / "files" / f"{number}.dcm" for number in range(len(contents))]
    for file in (tmp_path / "files").iterdir():
        file.unlink()
    for file, content in zip(files, contents):
        file.write_bytes(content)
    code = through(door, files, model, tmp_path / "out")
    printed = capfd.readouterr()
    assert code in (0, 1, 2, 3)
    assert "Traceback" not in printed.err
    assert NAME not in printed.out + printed.err
    if code in (1, 2):
        assert len([line for line in printed.err.splitlines() if "error" in line.lower()]) <= 1


def strange(folder: Path) -> dict[str, Path]:
    """What may lie where an image is expected."""
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.dcm" for name in ("pipe", "loop", "folder", "empty", "dangling")}
    os.mkfifo(paths["pipe"])
    paths["loop"].symlink_to(paths["loop"])
    paths["dangling"].symlink_to(folder / "absent")
    paths["folder"].mkdir()
    paths["empty"].write_bytes(b"")
    paths["device"] = Path("/dev/zero")
    paths["long"] = folder / ("n" * 300 + ".dcm")
    paths["zero"] = folder / "a\0b.dcm"
    paths["surrogate"] = folder / "\ud800.dcm"
    return paths


@pytest.mark.parametrize("suffix", [".dcm", ".png", ""])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    for name, path in strange(tmp_path / "strange").items():
        if suffix != ".dcm" and name in ("pipe", "loop"):
            path = path.rename(path.with_suffix(suffix or ".x"))
        with pytest.raises(ImageReject) as caught:
            read_image(path)
        assert caught.value.code in ("not-an-image", "image-missing", "image-unreadable", "image-empty"), name
        assert read_image_tags(path) in (None, {})


def test_strange_files_in_an_export_and_as_images_of_a_study(
    tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = strange(tmp_path / "files")
    os.mkfifo(tmp_path / "files" / "no-suffix")
    raw = os.fsencode(tmp_path / "files") + b"/\xff\xfe.dcm"  # a name that is not UTF-8
    good = saved(image(WindowCenter=2048, WindowWidth=4096), tmp_path / "files" / "good.dcm")
    os.rename(saved(image(values() // 2, StudyInstanceUID="1.2.9"), tmp_path / "files" / "other.dcm"), raw)
    assert through("prepare", [good], model, tmp_path / "out") in (0, 3)
    for path in [*paths.values(), Path(os.fsdecode(raw))]:
        if "\0" not in str(path):
            assert through("images", [path], model, tmp_path / "out") in (0, 1, 2), path
            with pytest.raises(InputError) if path.name != os.fsdecode(b"\xff\xfe.dcm") else nullcontext():
                cxrgen.load(model, max_new_tokens=2).report(path)
    assert "Traceback" not in capfd.readouterr().err


def test_a_name_in_every_tag_comes_out_of_no_door(
    tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One file a tag: the name stands in it, whatever else the tag should hold."""
    (tmp_path / "files").mkdir()
    texts = [(group, element) for group in (8, 0x10, 0x18, 0x20, 0x32, 0x40) for element in range(0x10, 0x60, 0x10)]
    tags = sorted({*GOOD, *texts} - {PIXELS})
    for number, tag in enumerate(tags):
        kind = GOOD.get(tag, (b"LO", b""))[0]
        word = NAME if number % 2 else NAME.upper()
        changed = {**GOOD, (0x0020, 0x000D): (b"UI", f"1.2.{number}".encode()), (0x0010, 0x0020): (b"LO", b"P" * 4)}
        changed[tag] = (b"LO" if kind in (b"US", b"SQ") else kind, word.encode())
        (tmp_path / "files" / f"{number}.dcm").write_bytes(file_of(changed))
    files = sorted((tmp_path / "files").iterdir())
    with caplog.at_level("DEBUG"):
        command = ["prepare", tmp_path / "files", "--kind", "dicom", "--out", tmp_path / "out", "--workers", 1]
        for more in (["--dry-run"], [], ["--strict", "--force"]):
            assert main([*map(str, [*command, *more])]) in (0, 1, 3)
        writer = cxrgen.load(model, max_new_tokens=1)
        refusals = ""
        for number, file in enumerate(files):
            if number % 8 == 0:
                assert through("images", [file], model, tmp_path) in (0, 1)
            try:
                writer.report(file)
            except InputError as error:
                refusals += str(error)
    printed = capfd.readouterr()
    names = " ".join(path.name for path in (tmp_path / "out").rglob("*"))
    said = (printed.out + printed.err + caplog.text + names + refusals).lower()
    assert NAME.lower() not in said
    assert "Traceback" not in printed.err
