"""A judge behind an endpoint: what is asked and believed, when it is asked again, and where texts may go."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.metrics.clinical.judge_server import Judge, Reply, judging

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.retries import RetryPolicy
from cxrgen.metrics import MetricResult, measure_nothing, measure_several
from cxrgen.metrics.clinical import judge as judge_of
from cxrgen.metrics.clinical.judge_address import address_of
from cxrgen.metrics.clinical.judge_prompt import INSTRUCTIONS, PROMPT, prompt_hash, read_answer

HYPS = ["Small left effusion.", "Lungs clear.", "Lungs clear."]
REFS = ["Small right effusion. New pneumothorax.", "Lungs clear.", "Lungs clear."]
ERRORS = {
    "matched": ["small effusion"],
    "errors": [
        {"kind": "wrong_location", "finding": "effusion", "urgent": False},
        {"kind": "Missing finding", "finding": "pneumothorax", "urgent": True},
        {"kind": "omitted_comparison", "finding": "new", "urgent": False},
    ],
}
WRONG = Reply(json.dumps(ERRORS))


@pytest.fixture
def server() -> Iterator[Judge]:
    with judging() as judge:
        judge.by_report[HYPS[0]] = WRONG
        judge.otherwise = Reply('{"matched": ["lungs clear"], "errors": []}')
        yield judge


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def retry(waits: list[float]) -> RetryPolicy:
    return RetryPolicy(tries=3, timeout=5, sleep=waits.append)


def measured(server: Judge, retry: RetryPolicy, **more: Any) -> MetricResult:
    return judge_of.measure(HYPS, REFS, server.url, "small", retry=retry, at_once=1, **more)


def test_errors_are_counted_by_kind_and_each_different_pair_is_asked_once(server: Judge, retry: RetryPolicy) -> None:
    found = measured(server, retry)
    values = found.aggregate(found.counts.sum(axis=0))
    assert {name: float(value) for name, value in values.items()} == pytest.approx(
        {
            "judge_matched": 1.0,
            "judge_missed": 1 / 3,
            "judge_invented": 0,
            "judge_misplaced": 1 / 3,
            "judge_severity": 0,
            "judge_comparison": 1 / 3,
            "judge_errors": 1.0,
            "judge_urgent": 1 / 3,
        }
    )
    assert found.better("judge_matched") == "higher"
    assert found.better("judge_urgent") == "lower"
    assert [(each.kind, each.finding, each.urgent) for each in found.noted[0]][1] == (
        "missing_finding",
        "pneumothorax",
        True,
    )
    assert found.noted[1:] == [(), ()]
    assert len(server.asked) == 2
    assert {"reference": REFS[0], "candidate": HYPS[0]} in server.texts()
    assert server.paths == ["/v1/chat/completions"] * 2
    assert server.asked[0]["model"] == "small"
    assert server.asked[0]["temperature"] == 0
    assert server.asked[0]["response_format"] == {"type": "json_object"}
    assert f"prompt:{PROMPT}|model:small" in found.signature


def test_another_wording_of_the_question_needs_another_name() -> None:
    assert (PROMPT, prompt_hash()) == ("cxrgen-judge-1", "49ec77525b42c6ab"), "name the new prompt, then its hash here"
    assert "KIND_LIST" not in INSTRUCTIONS


def test_of_several_references_the_one_with_the_fewest_errors_counts(server: Judge, retry: RetryPolicy) -> None:
    server.by_report.clear()
    server.by_reference = {"a": WRONG, "b": Reply(), "c": Reply("broken"), "d": WRONG}
    options = {"url": server.url, "model": "small", "retry": retry}
    found = measure_several("judge", ["x", "y", "z"], [["a", "b"], ["c", "d"], ["c"]], **options)
    assert found.per_study()["judge_errors"].tolist()[:2] == [0, 3]
    assert [len(noted) for noted in found.noted] == [0, 3, 0]
    assert found.unscored is not None
    assert found.unscored(found.counts)["broken answer"] == 1
    assert {(of["candidate"], of["reference"]) for of in server.texts()} == {
        ("x", "a"),
        ("x", "b"),
        ("y", "c"),
        ("y", "d"),
        ("z", "c"),
    }


GOOD = '{"matched": [], "errors": [{"kind": "wrong_severity", "finding": "edema", "urgent": false}]}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"Here you are:\n```JSON\n{GOOD}\n```\nAnything else?",
        f"For example ```{{}}```, but really\n```json\n{GOOD}\n```",
        f'<think>maybe {{"matched": [ ```json {{}} ``` no</think>\n{GOOD}',
    ],
)
def test_an_answer_is_read(text: str) -> None:
    answer = read_answer(text)
    assert answer is not None
    assert [error.kind for error in answer.errors] == ["wrong_severity"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The candidate is fine.",
        GOOD[:-2],
        "[]",
        "null",
        "3",
        '{"matched": [], "errors": {}}',
        '{"errors": []}',
        '{"matched": []}',
        '{"matched": 1, "errors": []}',
        '{"matched": [1], "errors": []}',
        '{"matched": [""], "errors": []}',
        '{"matched": [], "errors": ["missing_finding"]}',
        GOOD.replace("wrong_severity", "bad_style"),
        GOOD.replace("false", '"false"'),
        GOOD.replace("false", "0"),
        GOOD.replace('"edema"', '" "'),
        GOOD.replace('"edema"', "null"),
        '{"matched": [], "errors": [' + ", ".join(["{}"] * 201) + "]}",
        "[" * 100_000,
    ],
)
def test_another_form_is_no_answer(text: str) -> None:
    assert read_answer(text) is None


def test_a_broken_answer_is_asked_for_again_then_counted_and_never_scored(server: Judge, retry: RetryPolicy) -> None:
    server.by_report[HYPS[0]] = Reply("I see a missing finding.")
    found = measured(server, retry)
    assert len(server.asked) == 3
    assert found.unscored is not None
    assert found.unscored(found.counts) == {"broken answer": 1, "no answer": 0, "not asked": 0}
    assert np.isnan(found.per_study()["judge_errors"]).tolist() == [True, False, False]
    assert float(found.aggregate(found.counts.sum(axis=0))["judge_matched"]) == 1.0, "the mean of the two with answers"


def test_a_broken_answer_that_is_mended_counts(server: Judge, retry: RetryPolicy) -> None:
    server.by_report.clear()
    server.replies = [Reply("{"), WRONG]
    assert measured(server, retry).unscored(np.zeros((0, 12))) == dict.fromkeys(judge_of.UNSCORED, 0)  # type: ignore[misc]
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_after_waiting(
    server: Judge, retry: RetryPolicy, waits: list[float], status: int
) -> None:
    server.replies = [Reply(status=status, headers={"Retry-After": "7"}), Reply(status=status)]
    server.by_report.clear()
    found = measured(server, retry)
    assert waits == [7, 2]
    assert found.counts[:, judge_of._ANSWERED].tolist() == [1, 1, 1]
    assert len(server.asked) == 4


def test_a_pair_that_times_out_is_counted_and_the_others_are_scored(server: Judge, waits: list[float]) -> None:
    server.by_report[HYPS[0]] = Reply(after=0.5)
    found = measured(server, RetryPolicy(tries=2, timeout=0.1, sleep=waits.append))
    assert found.unscored is not None
    assert found.unscored(found.counts) == {"broken answer": 0, "no answer": 1, "not asked": 0}
    assert waits == [1]


@pytest.mark.parametrize("body", [b"not JSON", b'{"choices": []}', b"[]", b"x" * ((1 << 20) + 1)])
def test_what_is_no_completion_is_no_answer(server: Judge, retry: RetryPolicy, body: bytes) -> None:
    server.by_report[HYPS[0]] = Reply(body=body)
    found = measured(server, retry)
    assert found.unscored is not None
    assert found.unscored(found.counts)["no answer"] == 1


def test_a_server_that_is_gone_ends_the_run(retry: RetryPolicy) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    texts = [f"Study {number}." for number in range(5)]
    with pytest.raises(InputError, match="no answer to 3 pairs in a row") as raised:
        judge_of.measure(texts, texts, url, "small", retry=retry, at_once=1)
    assert "Study" not in raised.value.shown(show_values=True)


@pytest.mark.parametrize(("status", "hint"), [(401, "CXRGEN_JUDGE_KEY"), (404, "--judge-model"), (400, "refuses")])
def test_a_refusal_ends_the_run_at_once(server: Judge, retry: RetryPolicy, status: int, hint: str) -> None:
    server.by_report.clear()
    server.otherwise = Reply(status=status, body=HYPS[0].encode())
    with pytest.raises(InputError, match=f"HTTP {status}.*{hint}") as raised:
        measured(server, retry)
    assert HYPS[0] not in raised.value.shown(show_values=True)
    assert len(server.asked) == (3 if status == 400 else 1), "400 is asked again with fewer settings"


def test_a_server_without_json_mode_is_asked_without_it(server: Judge, retry: RetryPolicy, waits: list[float]) -> None:
    server.by_report.clear()
    server.replies = [Reply(status=400)]
    measured(server, retry)
    assert ["response_format" in content for content in server.asked] == [True, False, False]
    assert waits == []


def test_answers_are_kept_and_no_pair_is_asked_about_twice(
    server: Judge, retry: RetryPolicy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = measured(server, retry, cache=tmp_path / "kept")
    assert "judge: the texts of 2 pairs are sent to http://127.0.0.1:" in capsys.readouterr().err
    again = measured(server, retry, cache=tmp_path / "kept")
    assert len(server.asked) == 2
    assert np.array_equal(first.counts, again.counts)
    assert first.noted == again.noted
    assert capsys.readouterr().err == "", "nothing leaves, so nothing is said"
    (kept,) = (tmp_path / "kept").iterdir()
    assert not (tmp_path / "kept").stat().st_mode & 0o077
    assert not kept.stat().st_mode & 0o077
    assert judge_of.measure(HYPS, REFS, server.url, "another", cache=tmp_path / "kept").counts.shape == (3, 12)
    assert len(server.asked) == 4, "another model is asked"


def test_a_run_that_was_stopped_goes_on(server: Judge, retry: RetryPolicy, tmp_path: Path) -> None:
    texts = [f"Study {number}." for number in range(6)]

    def run(**more: Any) -> MetricResult:
        return judge_of.measure(texts, texts, server.url, "small", cache=tmp_path, retry=retry, at_once=1, **more)

    server.replies = [Reply(), Reply(), Reply(status=401)]
    with pytest.raises(InputError):
        run()
    (kept,) = tmp_path.iterdir()
    with open(kept, "ab") as file:
        file.write(b'{"pair": "cut o')
    found = run()
    assert len(server.asked) == 3 + 4
    assert found.counts[:, judge_of._ANSWERED].sum() == 6
    kept.write_text('{"pair": "x", "matched": 3}\n')
    with pytest.raises(InputError, match=f"{kept.name}:1: no answer"):
        run()


def test_a_budget_takes_a_part_and_the_next_run_the_rest(server: Judge, retry: RetryPolicy, tmp_path: Path) -> None:
    texts = [f"Study {number}." for number in range(6)]
    other = [f"Report {number}." for number in range(6)]
    server.by_report = {f"Study {number}.": Reply("broken") for number in range(6)}

    def asked(reports: list[str], **more: Any) -> list[bool]:
        found = judge_of.measure(reports, texts, server.url, "small", retry=retry, at_once=1, **more)
        assert found.unscored is not None
        assert found.unscored(found.counts)["not asked"] == 6 - (found.counts[:, 8] + found.counts[:, 9]).sum()
        return list((found.counts[:, 8] + found.counts[:, 9]).astype(bool))

    part = asked(other, max_calls=3)
    assert part.count(True) == 3
    assert asked(other[::-1], max_calls=3) == part, "the same studies whatever the reports are"
    assert asked(texts, max_calls=6) == part, "each call counts, also a second one for a broken answer"
    kept = [asked(other, max_calls=2, cache=tmp_path).count(True) for _ in range(4)]
    assert kept == [2, 4, 6, 6]
    assert asked(other, max_calls=0) == [False] * 6


def test_several_questions_at_once_give_the_same(server: Judge, retry: RetryPolicy) -> None:
    texts = [f"Study {number}." for number in range(20)]
    server.by_report = dict.fromkeys(texts[::3], WRONG)
    one, four = (
        judge_of.measure(texts, texts[::-1], server.url, "small", retry=retry, at_once=n).counts for n in (1, 4)
    )
    assert np.array_equal(one, four)
    assert len(server.asked) == 40


@pytest.mark.parametrize(
    "url",
    [
        "http://judge.example.com/v1",
        "https://192.168.1.7:8000/v1",
        "http://localhost.example.com",
        "http://0.0.0.0:8000",
        "http://2130706433",
        "http://[2001:db8::1]:8000/v1",
        "http://[::ffff:10.0.0.1]/v1",
    ],
)
def test_another_machine_is_refused_unless_allowed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was made"))
    with pytest.raises(UsageError, match=r"would leave this machine.*--judge-allow-remote"):
        judge_of.measure(HYPS, REFS, url, "small")
    judge_of.check({"url": url, "model": "small", "allow_remote": True})


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "ftp://localhost", "http://", "http://[", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--judge"):
        judge_of.check({"url": url, "model": "small"})


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for url in ("http://me:hidden@localhost/v1", "http://localhost/v1?Key=hidden", "http://localhost/?a=1&api-token="):
        with pytest.raises(UsageError, match="CXRGEN_JUDGE_KEY") as raised:
            judge_of.check({"url": url, "model": "small"})
        assert "hidden" not in str(raised.value)
    assert address_of("http://localhost:1/v1?api-version=hidden").shown == "http://localhost:1"


@pytest.mark.parametrize(
    ("url", "posted"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1/chat/completions"),
        ("http://[::1]/v1/chat/completions", "http://[::1]/v1/chat/completions"),
        ("http://127.9.9.9/x?api-version=1", "http://127.9.9.9/x/chat/completions?api-version=1"),
    ],
)
def test_an_address_is_a_base_or_whole(url: str, posted: str) -> None:
    assert address_of(url).url == posted
    assert address_of(url).local


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(server: Judge, retry: RetryPolicy, code: int) -> None:
    with judging() as elsewhere:
        server.by_report.clear()
        server.otherwise = Reply(status=code, headers={"Location": elsewhere.url.replace("127.0.0.1", "localhost")})
        with pytest.raises(InputError, match=r"redirect|HTTP 30"):
            measured(server, retry)
        assert elsewhere.asked == []
    assert len(server.asked) == 1


def test_a_redirection_to_another_machine_is_not_looked_up(
    server: Judge, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.by_report.clear()
    server.otherwise = Reply(status=302, headers={"Location": "https://judge.example.com/v1/chat/completions"})
    look_up = socket.getaddrinfo
    asked: list[object] = []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **named: (asked.append(host), look_up(host, *more, **named))[1]
    )
    with pytest.raises(InputError, match="redirects to another address, which is not followed") as raised:
        measured(server, retry)
    assert set(asked) == {"127.0.0.1"}
    assert "Small" not in raised.value.shown(show_values=True)


def test_no_proxy_stands_before_this_machine(
    server: Judge, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judging() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        measured(server, retry)
        assert proxy.asked == []
    assert len(server.asked) == 2


def test_a_key_comes_from_the_environment(server: Judge, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(server, retry)
    assert "Authorization" not in server.headers[0]
    monkeypatch.setenv("CXRGEN_JUDGE_KEY", "secret")
    measured(server, retry)
    assert server.headers[-1]["Authorization"] == "Bearer secret"


def test_nothing_is_asked_without_texts(server: Judge) -> None:
    assert measure_nothing("judge").counts.shape == (0, 12)
    with pytest.raises(UsageError, match="--judge URL and --judge-model NAME"):
        judge_of.measure(["a"], ["b"])
    with pytest.raises(UsageError, match="--judge-at-once 0: give 1 or more"):
        judge_of.measure(["a"], ["b"], server.url, "small", at_once=0)
    assert server.asked == []
