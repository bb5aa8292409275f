"""Lists of figures and archives that are held already, built to do harm: one line or a row of missing.csv, soon."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cxrgen.cli import main

NAME = "Mustermann"
MIB = 1 << 20
URL = "https://ftp.ncbi.nlm.nih.gov/pub/{}.tar.gz"


def bomb(path: Path, name: str) -> Path:
    """A tar.gz whose first member `name` is 3 GiB of zeros, and whose last is a figure; 3 MB in all."""
    before, after = tarfile.TarInfo(name), tarfile.TarInfo("PMC/g.jpg")
    before.size, after.size = 3 << 30, 3
    zeros = gzip.compress(bytes(16 * MIB), 9)
    parts = [gzip.compress(before.tobuf()), *[zeros] * 192, gzip.compress(after.tobuf() + b"jpg" + bytes(2000))]
    path.write_bytes(b"".join(parts))
    return path


def row(**values: object) -> str:
    return json.dumps({"pmc_tar_url": URL.format("PMC"), "image_file_path": "PMC/g.jpg", "pair_id": "1", **values})


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))


@pytest.mark.parametrize("kind", ["before", "itself", "no-tar"])
def test_a_bomb_of_3_gib_is_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    (tmp_path / "held").mkdir()
    held = bomb(tmp_path / "held" / "PMC.tar.gz", "PMC/g.jpg" if kind == "itself" else "PMC/blanks")
    if kind == "no-tar":
        held.write_bytes(gzip.compress(b" " * 16 * MIB, 9) * 192)
    (tmp_path / "urls.jsonl").write_text(row() + "\n")
    words = ["--input-path", "urls.jsonl", "--pmc-output-path", "held", "--images-output-path", "out"]
    result = subprocess.run(
        [sys.executable, "-m", "cxrgen", "download", *words],
        cwd=tmp_path, preexec_fn=limited, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert "0 of 1 figures, 1 missing (see missing.csv)" in result.stderr
    reason = (tmp_path / "out/missing.csv").read_text()
    expected = {"before": "more than 200 times its size", "itself": "larger than 256 MiB", "no-tar": "no whole archive"}
    assert expected[kind] in reason


def download(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    paths = ["--input-path", folder / "urls.jsonl", "--pmc-output-path", folder, "--images-output-path", folder / "out"]
    code = main(["download", *map(str, paths), *words])
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize(
    "url", ["", "nowhere", "http://[::1", "https://a:b/c", "ftp://x/y", "https://é/x", "http://x/ y"]
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry"])
def test_a_broken_address_is_a_figure_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / "urls.jsonl").write_text(row(pmc_tar_url=url) + "\n")
    code, said = download(tmp_path, capsys, *dry)
    assert code == (0 if dry else 3), said
    assert dry or "address" in (tmp_path / "out/missing.csv").read_text()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (row().encode("utf-16"), ""),
        (row().encode("utf-8-sig"), ""),
        (row(image_file_path="PMC/g.jpg").encode() + b'\n{"pmc_tar_url": "\xff\xfe"}', "the code page is not known"),
        (b"\x00\x01\x02", "NUL bytes"),
        (b"[" * 100_000, "urls.jsonl:1: not a line with"),
        (b'{"pmc_tar_url": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", "urls.jsonl:1: not a line with"),
        (b'"' + b"x" * 3_000_000 + b'"', "urls.jsonl:1: not a line with"),
        (row(pair_id=7).encode(), "urls.jsonl:1: not a line with"),
        (row(pair_id=None).encode(), "urls.jsonl:1: not a line with"),
        (f"{row()}\n{row(image_file_path='PMC/h.jpg')}".encode(), "urls.jsonl:2: the pair_id is that of another"),
        (f"{row()}\n{row()}".encode(), ""),
        (b"\n\n", "no figure is listed"),
        (b"", "no figure is listed"),
    ],
    ids=["utf-16", "bom", "code-page", "nul", "deep", "deep-inside", "long", "number", "null", "doubled", "repeated",
         "blank", "empty"],
)  # fmt: skip
def test_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, expected: str) -> None:
    (tmp_path / "urls.jsonl").write_bytes(content)
    code, said = download(tmp_path, capsys, "--dry-run")
    assert said.count("\n") == 1, said
    assert (code, expected in said) == ((1, True) if expected else (0, True))


def test_two_figures_of_one_member(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "PMC.tar.gz", "w:gz") as tar:
        (tmp_path / "g.jpg").write_bytes(b"picture")
        tar.add(tmp_path / "g.jpg", "PMC/g.jpg")
    (tmp_path / "urls.jsonl").write_text(f"{row()}\n{row(pair_id='2')}\n")
    assert download(tmp_path, capsys)[0] == 0
    assert [(tmp_path / f"out/{pair}.jpg").read_bytes() for pair in "12"] == [b"picture"] * 2


def test_a_list_that_has_grown_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_two_figures_of_one_member(tmp_path, capsys)
    (tmp_path / "urls.jsonl").write_text(f"{row()}\n{row(pair_id='3')}\n")
    (tmp_path / "out/1.jpg").unlink()
    code, said = download(tmp_path, capsys)
    assert (code, "2 of 2 figures" in said) == (0, True)
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == {"1.jpg", "2.jpg", "3.jpg"}


def test_a_damaged_archive_that_is_held_is_not_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "PMC.tar.gz").write_bytes(gzip.compress(bytes(99))[:-5])
    (tmp_path / "urls.jsonl").write_text(row() + "\n")
    assert download(tmp_path, capsys)[0] == 3
    assert "the file in --pmc-output-path is no whole archive" in (tmp_path / "out/missing.csv").read_text()


@pytest.mark.parametrize(
    "planted",
    [
        row(pmc_tar_url=f"https://{NAME}.example/{NAME}.tar.gz"),
        row(pmc_tar_url=f"https://ftp.ncbi.nlm.nih.gov/{NAME}.tar.gz"),
        row(pmc_tar_url=f"{NAME}"),
        row(image_file_path=f"PMC/{NAME}.jpg"),
        row(image_file_path=f"../{NAME}"),
        row(pair_id=f"{NAME}?"),
        row(pair_id=[NAME]),
        row(**{NAME: NAME}),
        f'{{"pmc_tar_url": {NAME}',
        f"{row(pair_id=NAME)}\n{row(pair_id=NAME, image_file_path=NAME)}",
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry"])
def test_what_stands_in_a_list_stays_off_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planted: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / "urls.jsonl").write_text(planted + "\n")
    with tarfile.open(tmp_path / "PMC.tar.gz", "w:gz") as tar:
        (tmp_path / "member").write_bytes(b"picture")
        tar.add(tmp_path / "member", f"PMC/{NAME}.jpg")
    code, said = download(tmp_path, capsys, "--tries", "1", *dry)
    assert code in (0, 1, 3)
    assert NAME.lower() not in said.lower()
