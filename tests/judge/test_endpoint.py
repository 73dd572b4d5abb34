"""The endpoint over real HTTP, against a server that misbehaves; the cache on disk."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iapt.errors import ConfigError, JudgeError
from iapt.judge.endpoint import Endpoint, EndpointSettings, Reply, Usage, split_address
from tests.judge.judge_server import GOOD_REPLY, JudgeServer, running_server

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
    [
        *(["429"], ["500"], ["503", "429", "500"], ["html"], ["nonsense", "html"], ["cut"]),
        *(["half"], ['200 {"choices": [{"message": {"content": ["a list"]}}]}']),
    ],
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


def test_nobody_waits_after_the_last_attempt(server: JudgeServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    server.plan = ["html"] * 3
    judge = endpoint(server, tmp_path, retries=2)
    judge.sleep = pauses.append
    with judge, pytest.raises(JudgeError):
        judge.ask("x")

    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["401"], r"answered 401 for model 'test-judge': .* Check OPENAI_API_KEY\.$"),
        (["403"], r"answered 403 .* Check that the key may use this model\.$"),
        (["404"], r"answered 404 .* Check base_url and model\.$"),
        (["400"], r"answered 400 .* Some models refuse these: .*=null max_tokens=null\.$"),
        (
            ["500"] * 9,
            r"answered 500 .* Repeat the command later: the cache keeps earlier replies\.$",
        ),
        (["html"] * 9, r"3 times with something that is not a chat completion.*warming up"),
    ],
)
def test_lasting_failures_say_what_to_do(
    server: JudgeServer, tmp_path: Path, plan: list[str], message: str
) -> None:
    server.plan = list(plan)
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
        pytest.raises(
            JudgeError,
            match=r"no answer after 1 retries: Connection error\. Check base_url and the network, "
            r"then repeat the command: the cache keeps earlier replies\.$",
        ),
    ):
        judge.ask("x")


def test_nobody_waits_longer_than_the_time_out(server: JudgeServer, tmp_path: Path) -> None:
    server.plan = ["wait"]
    with (
        endpoint(server, tmp_path, retries=0, timeout_seconds=0.1) as judge,
        pytest.raises(JudgeError, match="no answer after 0 retries: Request timed out"),
    ):
        judge.ask("x")
    server.go_on.set()


def test_without_the_client_the_error_says_how_to_get_it(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)  # type: ignore[arg-type]
    with (
        endpoint(server, tmp_path) as judge,
        pytest.raises(JudgeError, match=r"needs the openai client: pip install 'iapt\[judge\]'\.$"),
    ):
        judge.ask("x")


def test_an_endpoint_can_be_opened_again(server: JudgeServer, tmp_path: Path) -> None:
    judge = endpoint(server, tmp_path)
    for prompt in ("x", "y"):
        with judge:
            assert judge.ask(prompt).text == GOOD_REPLY


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


def test_tokens_paid_and_found_on_disk_add_up_apart(server: JudgeServer, tmp_path: Path) -> None:
    with endpoint(server, tmp_path) as judge:
        for prompt in ("x", "y", "x", "y", "y"):
            judge.ask(prompt)

    assert judge.usage == Usage(
        requests=2,
        cached=3,
        prompt_tokens=200,
        completion_tokens=40,
        cached_prompt_tokens=300,
        cached_completion_tokens=60,
    )


@pytest.mark.parametrize("usage", ["null", "{}", '{"prompt_tokens": null}'])
def test_tokens_that_a_server_does_not_count_are_none(
    server: JudgeServer, tmp_path: Path, usage: str
) -> None:
    server.plan = [f'200 {{"choices": [{{"message": {{"content": "x"}}}}], "usage": {usage}}}']
    with endpoint(server, tmp_path) as judge:
        assert judge.ask("x") == Reply("x")

    assert judge.usage == Usage(requests=1)


def test_everything_a_reply_depends_on_is_in_its_key(server: JudgeServer, tmp_path: Path) -> None:
    for settings in ({}, {"temperature": 1.0}, {"max_tokens": 5}, {"temperature": None}):
        with endpoint(server, tmp_path, **settings) as judge:
            judge.ask("x")
            judge.ask("y")

    assert len(server.bodies) == 8
    assert len(list(tmp_path.iterdir())) == 8


def test_a_reply_that_an_earlier_version_paid_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file's name is part of what is kept: another spelling of the key would ask, and pay, again.
    name = "c376d0858f62b4e10b414cd3e2658f175f1ac0811715634e3d12e1df88750dc1.json"
    body = {"choices": [{"message": {"content": "kept"}}]}
    (tmp_path / name).write_text(json.dumps({"body": body}))
    monkeypatch.setitem(sys.modules, "openai", None)  # type: ignore[arg-type]
    with Endpoint(EndpointSettings("m", "http://host/v1"), "k", tmp_path) as judge:
        assert judge.ask("Où?").text == "kept"


def test_a_kept_reply_says_what_was_asked_of_whom(server: JudgeServer, tmp_path: Path) -> None:
    with endpoint(server, tmp_path) as judge:
        judge.ask("x")
    (path,) = tmp_path.iterdir()

    kept = json.loads(path.read_text())
    assert (kept["base_url"], kept["request"]) == (server.base_url, server.bodies[0])


def test_a_reply_of_one_endpoint_is_not_another_endpoints(
    server: JudgeServer, tmp_path: Path
) -> None:
    with running_server() as other:
        other.answer = lambda prompt: "from the other"
        with endpoint(server, tmp_path) as judge, endpoint(other, tmp_path) as second:
            assert judge.ask("x").text == GOOD_REPLY
            assert second.ask("x").text == "from the other"

    assert (len(server.bodies), len(other.bodies)) == (1, 1)


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


def test_a_key_that_the_server_echoes_is_masked_in_replies_and_errors(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.answer = lambda prompt: "Your key is secret-key. Assistant 1: 8/10"
    with endpoint(server, tmp_path) as judge:
        assert judge.ask("x").text == "Your key is ***. Assistant 1: 8/10"
    assert all("secret-key" not in path.read_text() for path in tmp_path.iterdir())

    for plan in (["401 secret-key"], ["200 <html>secret-key</html>"] * 2):
        server.plan = list(plan)
        with endpoint(server, tmp_path, retries=1) as judge, pytest.raises(JudgeError) as caught:
            judge.ask("y")
        assert "***" in str(caught.value)
        assert "secret-key" not in str(caught.value)
    assert "secret-key" not in repr(judge)


@pytest.mark.parametrize("before", range(0, 10, 4))
@pytest.mark.parametrize("plan", ["401 {}", "200 {}"])
def test_no_part_of_a_key_is_left_where_a_long_answer_is_cut(
    server: JudgeServer, tmp_path: Path, plan: str, before: int
) -> None:
    server.plan = [plan.format("x" * before + "secret-key" * 40)]  # the cut is in one of them
    with endpoint(server, tmp_path, retries=0) as judge, pytest.raises(JudgeError) as caught:
        judge.ask("x")

    assert "x***" in str(caught.value) or before == 0
    assert "sec" not in str(caught.value)


def test_secrets_of_six_characters_and_passwords_with_colons_are_masked(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.answer = lambda prompt: "sixsix pa:ssword five5"
    settings = EndpointSettings("m", server.base_url)
    with Endpoint(settings, "sixsix", tmp_path, "ada:pa:ssword") as judge:
        assert judge.ask("x").text == "*** *** five5"
    with Endpoint(settings, "five5", tmp_path / "other") as judge:
        assert judge.ask("x").text == "sixsix pa:ssword five5"


def test_no_key_masks_nothing(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda prompt: "none of them"
    settings = EndpointSettings("m", server.base_url)
    with Endpoint(settings, "none", tmp_path) as judge:
        assert judge.ask("x").text == "none of them"


def test_user_and_password_of_an_address_are_sent_and_stored_nowhere(
    server: JudgeServer, tmp_path: Path
) -> None:
    address, login = split_address(server.base_url.replace("//", "//ada:p%40ssword@"))
    assert (address, login) == (server.base_url, "ada:p@ssword")
    server.answer = lambda prompt: f"{server.keys[-1]} p@ssword"
    with Endpoint(EndpointSettings("m", address), "secret-key", tmp_path, login) as judge:
        assert judge.ask("x").text == "Basic *** ***"

    assert server.keys == ["Basic YWRhOnBAc3N3b3Jk"]
    assert all("p@ssword" not in path.read_text() for path in tmp_path.iterdir())
    assert "p@ssword" not in repr(judge)


def test_an_address_is_taken_apart_at_its_last_at_sign() -> None:
    address = "https://ada@example.org:pw@host:8000/v1"
    assert split_address(address) == ("https://host:8000/v1", "ada@example.org:pw")
    assert split_address("https://host/v1") == ("https://host/v1", "")


@pytest.mark.parametrize(
    "address",
    [
        "host/v1",
        "ada:pw@host/v1",
        "http://ada:p/w@host/v1",
        "http://[x",
        "ftp://host",
        "http:///v1",
        "http://host/v1?key=secret",
        "http://host/v1#secret",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="base_url: must be an address") as caught:
        split_address(address)

    assert address not in str(caught.value)


def test_an_empty_message_is_a_reply(server: JudgeServer, tmp_path: Path) -> None:
    server.answer = lambda prompt: ""
    with endpoint(server, tmp_path) as judge:
        assert judge.ask("x").text == ""
