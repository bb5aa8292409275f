"""Downloads against a server on this machine that breaks off, is busy, lies about lengths, or has nothing."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.llava_med.server import Served, Server, serving

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.retries import RetryPolicy
from cxrgen.llava_med import download
from cxrgen.llava_med.download import chosen_files, download_files
from cxrgen.llava_med.http import SourceFailed, fetch
from cxrgen.llava_med.published_files import FILES, GROUPS, Published

DATA = bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def retry(waits: list[float]) -> RetryPolicy:
    return RetryPolicy(tries=4, timeout=5, sleep=waits.append)


def get(server: Server, target: Path, retry: RetryPolicy, sha256: str = SHA, size: int = len(DATA)) -> str:
    return fetch(server.url("/file"), target, size, 0, sha256, retry)


def test_a_file_that_comes_whole_is_written_with_its_hash(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    server.files["/file"] = Served(DATA)
    assert get(server, tmp_path / "a/file", retry) == SHA
    assert (tmp_path / "a/file").read_bytes() == DATA
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("etag", ['"one"', ""])
def test_broken_connections_are_continued_where_they_broke(
    server: Server, tmp_path: Path, retry: RetryPolicy, waits: list[float], etag: str
) -> None:
    server.files["/file"] = Served(DATA, broken=6, etag=etag)  # more breaks than tries: each brings something
    get(server, tmp_path / "file", retry)
    assert (tmp_path / "file").read_bytes() == DATA
    starts = [int(wanted.removeprefix("bytes=").rstrip("-") or 0) for _, wanted in server.asked]
    assert starts == sorted(set(starts))
    assert len(starts) == 7
    assert waits == [1.0] * 6


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    server.files["/file"] = Served(DATA, broken=2, ranges=False)
    get(server, tmp_path / "file", retry)
    assert (tmp_path / "file").read_bytes() == DATA


def test_the_next_run_goes_on_with_the_part(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    server.files["/file"] = Served(DATA, broken=1)
    with pytest.raises(SourceFailed, match="after 1 tries"):
        get(server, tmp_path / "file", RetryPolicy(tries=1, timeout=5))
    assert (tmp_path / "file.part").stat().st_size == len(DATA) // 2
    get(server, tmp_path / "file", retry)
    assert (tmp_path / "file").read_bytes() == DATA
    assert server.asked[1][1] == f"bytes={len(DATA) // 2}-"


@pytest.mark.parametrize("etag", ['"two"', ""])
def test_a_part_of_another_version_is_not_mixed_in(
    server: Server, tmp_path: Path, retry: RetryPolicy, etag: str
) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    if etag:
        (tmp_path / "file.part.version").write_text('"one"')
    server.files["/file"] = Served(DATA, etag=etag)
    get(server, tmp_path / "file", retry)
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    (tmp_path / "file.part").write_bytes(DATA + b"more")
    server.files["/file"] = Served(DATA)
    get(server, tmp_path / "file", retry)
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_busy_server_is_asked_again_when_it_said(
    server: Server, tmp_path: Path, retry: RetryPolicy, waits: list[float]
) -> None:
    server.files["/file"] = Served(DATA, busy=3)
    get(server, tmp_path / "file", retry)
    assert waits == [3.0, 3.0, 4.0]  # Retry-After, or longer by the doubling
    server.files["/file"] = Served(DATA, busy=99)
    with pytest.raises(SourceFailed, match="HTTP 503 after 4 tries"):
        get(server, tmp_path / "again", retry)


@pytest.mark.parametrize(("status", "gone"), [(404, True), (410, True), (403, False)])
def test_an_answer_that_stays_is_not_asked_again(
    server: Server, tmp_path: Path, retry: RetryPolicy, status: int, gone: bool
) -> None:
    server.files["/file"] = Served(DATA, status=status)
    with pytest.raises(SourceFailed, match=f"HTTP {status}") as failed:
        get(server, tmp_path / "file", retry)
    assert failed.value.gone is gone
    assert len(server.asked) == 1


def test_wrong_lengths_and_bytes_are_refused(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    server.files["/file"] = Served(DATA[:-1])
    with pytest.raises(SourceFailed, match="511,999 bytes, published are 512,000"):
        get(server, tmp_path / "file", retry)
    server.files["/file"] = Served(DATA, announced=len(DATA) + 9)
    with pytest.raises(SourceFailed, match="512,009 bytes, published are 512,000"):
        get(server, tmp_path / "file", retry)
    server.files["/file"] = Served(DATA[::-1])
    with pytest.raises(SourceFailed, match="SHA-256 differs"):
        get(server, tmp_path / "file", retry)
    server.files["/file"] = Served(b"<html>gone</html>")
    with pytest.raises(SourceFailed, match="17 bytes"):
        get(server, tmp_path / "file", retry)
    assert not (tmp_path / "file").exists()


def test_nothing_but_http_is_fetched_or_redirected_to(server: Server, tmp_path: Path, retry: RetryPolicy) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(SourceFailed, match="only http and https"):
        fetch(secret.as_uri(), tmp_path / "file", 1, 0, "", retry)
    server.files["/file"] = Served(b"", location=secret.as_uri())
    with pytest.raises(SourceFailed):
        get(server, tmp_path / "file", retry)


def test_nobody_listening_ends_after_all_tries(tmp_path: Path, retry: RetryPolicy, waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    with pytest.raises(SourceFailed, match="refused after 4 tries"):
        fetch(address, tmp_path / "file", 1, 0, "", retry)
    assert waits == [1.0, 2.0, 4.0]


@pytest.fixture
def table(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[Published, ...]:
    """Two made-up files with two addresses each, the first of which is dead."""
    rows = tuple(
        Published("eval", f"eval/{name}", len(DATA), SHA, (server.url(f"/dead/{name}"), server.url(f"/{name}")))
        for name in ("a.json", "b.json")
    )
    monkeypatch.setattr(download, "FILES", rows)
    return rows


def test_addresses_are_tried_in_order_and_hashes_logged(
    server: Server, tmp_path: Path, table: tuple[Published, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    server.files |= {"/a.json": Served(DATA), "/b.json": Served(DATA)}
    assert main(["download", "eval", "--out", str(tmp_path)]) == 0
    assert [path for path, _ in server.asked] == ["/dead/a.json", "/a.json", "/dead/b.json", "/b.json"]
    assert (tmp_path / "SHA256SUMS").read_text() == f"{SHA}  eval/a.json\n{SHA}  eval/b.json\n"
    assert capsys.readouterr().out.split() == [str(tmp_path / f"eval/{name}") for name in ("a.json", "b.json")]
    assert main(["download", "b.json", "--out", str(tmp_path)]) == 0
    assert len(server.asked) == 4  # already there


def test_when_all_addresses_fail_the_message_says_what_to_bring_and_where(
    server: Server, tmp_path: Path, table: tuple[Published, ...], retry: RetryPolicy
) -> None:
    server.files["/b.json"] = Served(DATA)
    with pytest.raises(InputError) as failed:
        download_files(table, tmp_path, [], retry)
    message = str(failed.value)
    assert re.search(rf"a\.json: no address gives it; bring the file \(512,000 bytes, SHA-256 {SHA}\) by hand", message)
    assert f"put it at {tmp_path / 'eval/a.json'} and run again" in message
    assert (tmp_path / "eval/b.json").is_file()  # the others came all the same
    (tmp_path / "eval/a.json").write_bytes(DATA)
    assert len(download_files(table, tmp_path, [], retry)) == 2
    (tmp_path / "eval/a.json").write_bytes(DATA[:100])
    with pytest.raises(InputError, match="100 bytes, not the published file"):
        download_files(table, tmp_path, [], retry)


def test_a_mirror_is_tried_first(server: Server, tmp_path: Path, table: tuple[Published, ...]) -> None:
    server.files |= {"/mirror/a.json": Served(DATA)}
    assert main(["download", "a.json", "--out", str(tmp_path), "--mirror", server.url("/mirror/")]) == 0
    assert [path for path, _ in server.asked] == ["/mirror/a.json"]


def test_a_dry_run_asks_nobody(server: Server, tmp_path: Path, table: tuple[Published, ...], capsys: object) -> None:
    assert main(["download", "data", "--out", str(tmp_path), "--dry-run"]) == 0
    assert not server.asked
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_seen_before(tmp_path: Path, retry: RetryPolicy) -> None:
    huge = Published("eval", "eval/huge", 10**18, "", ())
    with pytest.raises(InputError, match=r"1000000000\.0 GB are needed"):
        download_files([huge], tmp_path, [], retry)


def test_the_table_has_every_file_of_the_readme() -> None:
    """Names and rounded sizes as the original's README lists them."""
    listed = {
        "llava_med_alignment_500k.json": 341.52 * 2**20,
        "llava_med_instruct_10k.json": 19.24 * 2**20,
        "llava_med_instruct_60k.json": 84.65 * 2**20,
        "llava_med_instruct_60k_inline_mention.json": 83.61 * 2**20,
        "llava_med_instruct_fig_captions.json": 161.39 * 2**20,
        "llava_med_eval_qa50_qa.jsonl": 256.18 * 2**10,
        "llava_med_eval_qa50_fig_captions.json": 51.82 * 2**10,
        "llava_med_qa50_instruct_caption_in_text_cleaned-60k-3epoch.json": 100.97 * 2**10,
        "llava_med_image_urls.jsonl": 122.82 * 2**20,
        "llava_med_in_text_60k_ckpt2_delta.zip": 11.06e9,
    }
    assert {file.name for file in FILES} == set(listed)
    for file in FILES:
        assert file.bytes == pytest.approx(listed[file.name], rel=1e-3)
        assert file.group in GROUPS
        assert file.sources[0].startswith("https://hanoverprod.z21.web.core.windows.net/med_llava/")
        assert file.sources[0].endswith(file.place)
    assert {file.name for file in chosen_files(["data"])} == set(listed) - {"llava_med_in_text_60k_ckpt2_delta.zip"}
    with pytest.raises(UsageError, match="unknown NAME 'x'; choose from data, alignment"):
        chosen_files(["x"])
    assert main(["download"]) == 2
