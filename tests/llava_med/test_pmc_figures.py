"""Figures out of archives: grouped, streamed, continued, and hostile archives refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.llava_med.server import Served, Server, serving

from cxrgen.cli import main
from cxrgen.core.errors import InputError, TooManyRejects
from cxrgen.core.retries import RetryPolicy
from cxrgen.llava_med.pmc_figures import Figures, fetch_figures, read_list

PATIENCE = RetryPolicy(tries=3, timeout=5, sleep=lambda _: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def archive(members: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return file.getvalue()


def noise(seed: int, size: int = 40_000) -> bytes:
    import random

    return random.Random(seed).randbytes(size)


def listing(path: Path, server: Server, rows: list[tuple[str, str, str]]) -> Path:
    lines = [
        json.dumps({"pmc_tar_url": server.url(url), "image_file_path": member, "pair_id": pair})
        for url, member, pair in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def wanted(tmp_path: Path, rows: Path, **more: object) -> Figures:
    settings = {"archives": None, "hosts": frozenset({"127.0.0.1"}), "workers": 3, "rate": 0.0, "max_rejects": 1.0}
    return Figures(rows, tmp_path / "images", **{**settings, **more})  # type: ignore[arg-type]


@pytest.fixture
def rows(server: Server, tmp_path: Path) -> Path:
    """Five figures in three articles, one of which the server does not have."""
    server.files["/PMC1.tar.gz"] = Served(
        archive({"PMC1/text.nxml": noise(9), "PMC1/g1.jpg": noise(1), "PMC1/g2.jpg": noise(2), "PMC1/movie": noise(8)})
    )
    server.files["/PMC2.tar.gz"] = Served(archive({"PMC2/g1.jpg": noise(3)}))
    return listing(
        tmp_path / "urls.jsonl",
        server,
        [
            ("/PMC1.tar.gz", "PMC1/g1.jpg", "1_F1"),
            ("/PMC2.tar.gz", "PMC2/g1.jpg", "2_F1"),
            ("/PMC1.tar.gz", "PMC1/g2.jpg", "1_F2"),
            ("/PMC2.tar.gz", "PMC2/nowhere.jpg", "2_F2"),
            ("/PMC3.tar.gz", "PMC3/g1.jpg", "3_F1"),
        ],
    )


def test_each_archive_is_read_once_and_only_wanted_members_are_written(
    server: Server, tmp_path: Path, rows: Path
) -> None:
    summary = fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert "3 of 5 figures, 2 missing" in summary
    images = tmp_path / "images"
    assert {path.name for path in images.iterdir()} == {
        "1_F1.jpg", "1_F2.jpg", "2_F1.jpg", "manifest.jsonl", "missing.csv"
    }  # fmt: skip
    assert (images / "1_F2.jpg").read_bytes() == noise(2)
    assert sorted(path for path, _ in server.asked) == ["/PMC1.tar.gz", "/PMC2.tar.gz", "/PMC3.tar.gz"]
    missing = (images / "missing.csv").read_text().splitlines()
    assert missing[0] == "archive,pair_id,status,reason"
    assert missing[1:] == [
        f"{server.url('/PMC2.tar.gz')},2_F2,done,not in the archive",
        f"{server.url('/PMC3.tar.gz')},3_F1,gone,HTTP 404 Not Found",
    ]


def test_a_second_run_asks_only_for_what_is_open(server: Server, tmp_path: Path, rows: Path) -> None:
    server.files["/PMC2.tar.gz"].busy = 99
    fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert "HTTP 503 after 3 tries" in (tmp_path / "images/missing.csv").read_text()
    with open(tmp_path / "images/manifest.jsonl", "a") as manifest:
        manifest.write('{"url": "cut sho')  # as a crash leaves it
    server.asked.clear()
    server.files["/PMC2.tar.gz"].busy = 0
    assert "3 of 5 figures" in fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert {path for path, _ in server.asked} == {"/PMC2.tar.gz"}
    server.asked.clear()
    assert "3 of 5 figures" in fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert not server.asked


def test_broken_connections_are_tried_again_and_leave_no_half_images(
    server: Server, tmp_path: Path, rows: Path
) -> None:
    server.files["/PMC1.tar.gz"].broken = 2
    assert "3 of 5 figures" in fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert (tmp_path / "images/1_F1.jpg").read_bytes() == noise(1)
    assert server.count("/PMC1.tar.gz") == 3
    server.files["/PMC4.tar.gz"] = Served(archive({"PMC4/g1.jpg": noise(4)}), broken=99)
    listing(rows, server, [("/PMC4.tar.gz", "PMC4/g1.jpg", "4_F1")])
    assert "0 of 1 figures" in fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert "the connection broke" in (tmp_path / "images/missing.csv").read_text()
    assert not (tmp_path / "images/4_F1.jpg").exists()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "more", "reason"),
    [
        ({"../../outside": b"x"}, (), "points outside"),
        ({"/outside": b"x"}, (), "points outside"),
        ({}, (link("PMC/g.jpg", "/etc/passwd", tarfile.SYMTYPE),), "is no plain file"),
        ({}, (link("PMC/g.jpg", "../../x", tarfile.LNKTYPE),), "is no plain file"),
        ({}, (link("PMC/g.jpg", "", tarfile.CHRTYPE),), "is no plain file"),
        ({}, (link("PMC/g.jpg", "", tarfile.FIFOTYPE),), "is no plain file"),
    ],
)
def test_hostile_archives_are_refused(
    server: Server, tmp_path: Path, members: dict[str, bytes], more: tuple[tarfile.TarInfo, ...], reason: str
) -> None:
    server.files["/bad.tar.gz"] = Served(archive(members, *more))
    place = tmp_path / "place"
    place.mkdir()
    rows = listing(place / "urls.jsonl", server, [("/bad.tar.gz", "PMC/g.jpg", "a")])
    fetch_figures(wanted(place, rows), PATIENCE)
    assert reason in (place / "images/missing.csv").read_text()
    assert {path.name for path in place.rglob("*")} == {"urls.jsonl", "images", "manifest.jsonl", "missing.csv"}
    assert {path.name for path in tmp_path.iterdir()} == {"place"}
    assert server.count("/bad.tar.gz") == 1


def test_bombs_and_what_is_no_archive_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cxrgen.llava_med.pmc_figures as figures

    monkeypatch.setattr(figures, "_LARGEST_IMAGE", 10_000_000)
    monkeypatch.setattr(figures, "_LARGEST_ARCHIVE", 30_000_000)
    server.files["/image.tar.gz"] = Served(archive({"PMC/g.jpg": bytes(20_000_000)}))
    server.files["/all.tar.gz"] = Served(archive({"PMC/x": bytes(40_000_000), "PMC/g.jpg": b"x"}))
    server.files["/page.tar.gz"] = Served(b"<html>not here</html>")
    name = tarfile.TarInfo("name")
    name.type, name.size = tarfile.XHDTYPE, 1 << 33  # "the name of the next member has 8 GiB"
    server.files["/name.tar.gz"] = Served(gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(100_000)))
    names = ("image", "all", "page", "name")
    rows = listing(tmp_path / "urls.jsonl", server, [(f"/{name}.tar.gz", "PMC/g.jpg", name) for name in names])
    assert "0 of 4 figures" in fetch_figures(wanted(tmp_path, rows), PATIENCE)
    missing = (tmp_path / "images/missing.csv").read_text()
    assert "larger than 9 MiB" in missing
    assert "larger than 0.03 GB unpacked" in missing
    assert "name is longer than 1 MiB" in missing


@pytest.mark.parametrize("pair", ["../x", "a/b", ".hidden", "", "a\\b", "a" * 300])
def test_a_pair_id_that_is_no_plain_name_is_refused(server: Server, tmp_path: Path, pair: str) -> None:
    rows = listing(tmp_path / "urls.jsonl", server, [("/x", "a", "fine"), ("/x", "b", pair)])
    with pytest.raises(InputError, match=r"urls\.jsonl:2: the pair_id is no plain file name"):
        read_list(rows)


def test_a_damaged_list_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "urls.jsonl").write_text('\n{"pmc_tar_url": "x"}\n')
    with pytest.raises(InputError, match=r"urls\.jsonl:2: not a line with pmc_tar_url"):
        read_list(tmp_path / "urls.jsonl")
    with pytest.raises(InputError, match="cxrgen download image-urls"):
        read_list(tmp_path / "none.jsonl")


def test_other_hosts_are_not_asked(server: Server, tmp_path: Path, rows: Path) -> None:
    summary = fetch_figures(wanted(tmp_path, rows, hosts=frozenset({"ftp.ncbi.nlm.nih.gov"})), PATIENCE)
    assert "0 of 5" in summary
    assert not server.asked
    server.files["/PMC2.tar.gz"] = Served(b"", location="http://localhost:1/elsewhere")
    fetch_figures(wanted(tmp_path, rows), PATIENCE)
    assert "the host localhost is none of 127.0.0.1" in (tmp_path / "images/missing.csv").read_text()


def test_the_originals_flags_held_archives_and_the_share_that_may_lack(
    server: Server, tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "pmc_articles"
    held.mkdir()
    (held / "PMC1.tar.gz").write_bytes(server.files["/PMC1.tar.gz"].data)
    flags = ["--input_path", str(rows), "--pmc_output_path", str(held), "--images_output_path", str(tmp_path / "out")]
    flags += ["--allow-host", "127.0.0.1", "--rate", "1000"]
    assert main(["download", *flags, "--dry-run"]) == 0
    assert "5 figures in 3 archives: 0 there, 3 archives to read (127.0.0.1)" in capsys.readouterr().out
    assert not server.asked
    assert not (tmp_path / "out").exists()
    assert main(["download", *flags]) == 3
    assert "3 of 5 figures, 2 missing" in capsys.readouterr().err
    assert server.count("/PMC1.tar.gz") == 0
    assert [path.name for path in held.iterdir()] == ["PMC1.tar.gz"]
    assert main(["download", *flags, "--max-rejects", "0.5"]) == 0
    with pytest.raises(TooManyRejects):
        fetch_figures(wanted(tmp_path, rows, max_rejects=0.1), PATIENCE)


def test_requests_keep_to_the_rate(server: Server, tmp_path: Path) -> None:
    import time

    for number in range(4):
        server.files[f"/{number}.tar.gz"] = Served(archive({"g": noise(number, 100)}))
    rows = listing(tmp_path / "urls.jsonl", server, [(f"/{n}.tar.gz", "g", f"p{n}") for n in range(4)])
    start = time.monotonic()
    fetch_figures(wanted(tmp_path, rows, rate=20.0, workers=4), PATIENCE)
    assert time.monotonic() - start >= 3 / 20
