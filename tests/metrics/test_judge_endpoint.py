"""The endpoint over real HTTP, against a server that misbehaves; the cache on disk."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iapt.errors import JudgeError
from iapt.metrics.judge_endpoint import Endpoint, EndpointSettings
from tests.metrics.judge_server import GOOD_REPLY, JudgeServer, running_server

pytest.importorskip("openai")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):  # nothing may stand in between
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running_server() as running:
        yield running


def endpoint(server: JudgeServer, cache: Path, retries: int = 4, **settings: object) -> Endpoint:
    numbers = EndpointSettings("test-judge", server.base_url, retries=retries, **settings)  # type: ignore[arg-type]
    return Endpoint(numbers, "secret-key", cache, sleep=lambda seconds: None)


def test_request_carries_the_prompt_the_settings_and_the_key(
    server: JudgeServer, tmp_path: Path
) -> None:
    with endpoint(server, tmp_path) as judge:
        reply = judge.ask("Which is better?")

    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == (GOOD_REPLY, 100, 20)
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == ["Bearer secret-key"]
    assert server.bodies == [
        {
            "model": "test-judge",
            "messages": [{"role": "user", "content": "Which is better?"}],
            "temperature": 0.0,
            "max_tokens": 1024,
        }
    ]


def test_settings_that_are_null_are_left_to_the_endpoint(
    server: JudgeServer, tmp_path: Path
) -> None:
    with endpoint(server, tmp_path, temperature=None, max_tokens=None) as judge:
        judge.ask("x")

    assert set(server.bodies[0]) == {"model", "messages"}


@pytest.mark.parametrize(
    "plan",
    [["429"], ["500"], ["503", "429", "500"], ["html"], ["nonsense", "html"], ["cut"], ["half"]],
    ids=" ".join,
)
def test_passing_failures_are_survived(
    server: JudgeServer, tmp_path: Path, plan: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    server.plan = list(plan)
    with endpoint(server, tmp_path) as judge:
        assert judge.ask("x").text == GOOD_REPLY

    assert len(server.bodies) == len(plan) + 1


def test_pauses_between_answers_that_are_no_completions_grow(
    server: JudgeServer, tmp_path: Path
) -> None:
    pauses: list[float] = []
    server.plan = ["html"] * 6
    judge = endpoint(server, tmp_path, retries=6)
    judge.sleep = pauses.append
    with judge:
        judge.ask("x")

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["401"], r"answered 401 for model 'test-judge'.*Check OPENAI_API_KEY"),
        (["400"], r"answered 400.*temperature=null max_tokens=null"),
        (["500"] * 9, r"answered 500.*Run the same command again"),
        (["html"] * 9, r"3 times with something that is not a chat completion.*warming up"),
    ],
)
def test_lasting_failures_say_what_to_do(
    server: JudgeServer, tmp_path: Path, plan: list[str], message: str
) -> None:
    server.plan = plan
    with endpoint(server, tmp_path, retries=2) as judge, pytest.raises(JudgeError, match=message):
        judge.ask("x")

    assert list(tmp_path.iterdir()) == []  # a failure is not a reply


def test_nobody_listening_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    settings = EndpointSettings("m", "http://127.0.0.1:1/v1", retries=1)
    with (
        Endpoint(settings, "k", tmp_path) as judge,
        pytest.raises(JudgeError, match="no answer after 1 retries"),
    ):
        judge.ask("x")


def test_a_reply_is_paid_for_once(server: JudgeServer, tmp_path: Path) -> None:
    with endpoint(server, tmp_path) as judge:
        first = judge.ask("x")
    with endpoint(server, tmp_path) as judge:
        again = judge.ask("x")

    assert len(server.bodies) == 1
    assert again.text == first.text
    assert (first.cached, again.cached) == (False, True)
    assert (judge.usage.requests, judge.usage.cached) == (0, 1)
    assert (judge.usage.prompt_tokens, judge.usage.cached_prompt_tokens) == (0, 100)


def test_everything_a_reply_depends_on_is_in_its_key(server: JudgeServer, tmp_path: Path) -> None:
    for settings in ({}, {"temperature": 1.0}, {"max_tokens": 5}, {"temperature": None}):
        with endpoint(server, tmp_path, **settings) as judge:
            judge.ask("x")
            judge.ask("y")

    assert len(server.bodies) == 8
    assert len(list(tmp_path.iterdir())) == 8


def test_a_damaged_file_in_the_cache_is_asked_for_again(
    server: JudgeServer, tmp_path: Path
) -> None:
    with endpoint(server, tmp_path) as judge:
        judge.ask("x")
        (path,) = tmp_path.iterdir()
        whole = path.read_text()
        for damage in (whole[: len(whole) // 2], "", "[]", '{"body": {"choices": []}}'):
            path.write_text(damage)
            assert not judge.ask("x").cached
        assert json.loads(path.read_text())["request"]["model"] == "test-judge"

    assert len(server.bodies) == 5


def test_a_crash_while_writing_leaves_no_reply_behind(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise OSError("disk full")

    with endpoint(server, tmp_path) as judge:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", crash)
            with pytest.raises(OSError, match="disk full"):
                judge.ask("x")
        assert list(tmp_path.iterdir()) == []
        assert not judge.ask("x").cached


def test_the_key_is_never_written(server: JudgeServer, tmp_path: Path) -> None:
    with endpoint(server, tmp_path) as judge:
        judge.ask("x")

    assert all("secret-key" not in path.read_text() for path in tmp_path.iterdir())


def test_an_empty_message_is_a_reply(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda prompt: ""
    with endpoint(server, tmp_path) as judge:
        assert judge.ask("x").text == ""
