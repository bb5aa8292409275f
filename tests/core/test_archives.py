"""Archives that are built to do harm: refused soon, with little memory; whole ones are read, packed or not."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from cxrgen.core.archives import DAMAGE, HostileArchive, open_archive

MIB = 1 << 20


def packed(path: Path, members: list[tuple[str, int]], gzipped: bool = True) -> Path:
    """A tar of members of blanks: (name, bytes)."""
    with tarfile.open(path, "w:gz" if gzipped else "w", **({"compresslevel": 1} if gzipped else {})) as tar:
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b" " * size))
    return path


def names(path: Path, believed: int = MIB, most: int = 64 * MIB) -> list[str]:
    with open(path, "rb") as file, open_archive(file, believed, most) as archive:
        return [member.name for member in archive]


def test_members_come_in_their_order(tmp_path: Path) -> None:
    members = [("a", 10), ("b/c", 600_000), ("d", 0)]
    for gzipped in (True, False):
        assert names(packed(tmp_path / "t", members, gzipped)) == ["a", "b/c", "d"]


@pytest.mark.parametrize("members", [[("bomb", 20 * MIB), ("wanted", 5)], [("wanted", 20 * MIB)]])
def test_blanks_beyond_what_is_believed(tmp_path: Path, members: list[tuple[str, int]]) -> None:
    with pytest.raises(HostileArchive, match="more than 200 times its size"):
        names(packed(tmp_path / "t", members))
    with pytest.raises(HostileArchive, match=r"larger than 0\.01 GB unpacked"):
        names(packed(tmp_path / "t", members), believed=64 * MIB, most=10 * MIB)


def test_a_sparse_map_of_millions_of_parts_is_damage(tmp_path: Path) -> None:
    """The map ends before its announced end: tarfile raises ValueError for it."""
    info = tarfile.TarInfo("x")
    info.size = 512
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
    data = b"100000000\n" + bytes(502)
    (tmp_path / "t").write_bytes(gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + data))
    with pytest.raises(DAMAGE):
        names(tmp_path / "t")


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"\x1f\x8b" + bytes(99), b"<html>", gzip.compress(b" " * 3 * MIB)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t").write_bytes(data)
    with pytest.raises((HostileArchive, *DAMAGE)):
        names(tmp_path / "t")
