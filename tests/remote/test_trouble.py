"""What libraries raise, as one line of ours."""

import json
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError

from iapt.errors import BackboneError, DataError
from iapt.remote import trouble
from iapt.remote.trouble import DamagedError, as_ours, patiently


def raised(error: Exception, link: str | None = None) -> str:
    with pytest.raises(DataError) as caught, as_ours(DataError, "cannot do it", "Do that.", link):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SafetensorError("header\ntoo large"), "SafetensorError: header. Do that."),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), "UnicodeDecodeError: 'utf-8' codec"),
        (Exception("data did not match"), "Exception: data did not match. Do that."),
        (KeyError("mr"), "KeyError: 'mr'. Do that."),
        (ValueError(), "ValueError: no message. Do that."),
        (PermissionError(13, "Permission denied", "/a"), "/a: Permission denied. Do that."),
        (
            URLError(OSError(113, "No route to host")),
            "the connection failed (No route to host). Check the network and HF_ENDPOINT. Do that.",
        ),
        (URLError(FileNotFoundError(2, "No such file")), "No such file. Do that."),
        (json.JSONDecodeError("Expecting value", "{", 1), "JSONDecodeError: Expecting value"),
        (json.JSONDecodeError("no", "<html>", 0), "a web page came instead of the hub's answer"),
        (OSError("see https://me:pass@host/ hf_abcdefghijk"), "see https://***host/ ***."),
        (OSError("sent Authorization: Bearer a.b-c"), "sent Authorization: Bearer ***."),
    ],
)
def test_any_error_becomes_one_line(error: Exception, message: str):
    text = raised(error)
    assert text.startswith(f"cannot do it: {message}")
    assert "\n" not in text


def test_our_own_errors_pass_as_they_are():
    mine = BackboneError("as it is")
    with pytest.raises(BackboneError) as caught, as_ours(DataError, "cannot do it", "Do that."):
        raise mine
    assert caught.value is mine


def test_an_interruption_is_no_error_of_a_library():
    with pytest.raises(KeyboardInterrupt), as_ours(DataError, "cannot do it", "Do that."):
        raise KeyboardInterrupt


def answer(status: int, **headers: str) -> HTTPError:
    return HTTPError("http://x/y", status, "text", headers, None)  # type: ignore[arg-type]


def test_what_passes_is_tried_three_times_with_growing_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    waited: list[float] = []
    monkeypatch.setattr(trouble.time, "sleep", waited.append)
    errors = [
        *(answer(500), answer(503), answer(408), IncompleteRead(b""), ConnectionResetError()),
        OSError("Consistency check failed: file should be of size 9"),
        *(DamagedError("other bytes"), URLError(TimeoutError()), URLError(ConnectionResetError())),
    ]
    for error in errors:
        tries: list[int] = []
        waited.clear()

        def action(error: Exception = error, tries: list[int] = tries) -> None:
            tries.append(1)
            raise error

        with pytest.raises(type(error)):
            patiently(action, "a/b")
        assert (len(tries), waited) == (3, [2.0, 8.0]), error
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert first == "a/b: HTTP 500; trying again in 2 s."
    assert second == "a/b: HTTP 500; trying again in 8 s."


def test_the_line_before_a_wait_has_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(trouble.time, "sleep", lambda seconds: None)

    def action() -> None:
        raise answer(500)

    with pytest.raises(HTTPError):
        patiently(action, "http://me:secret@host/rows\x1b[2J")
    shown = capsys.readouterr().err
    assert "http://***@host/rows\ufffd[2J: HTTP 500" in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    "error",
    [
        answer(404),
        answer(403),
        URLError(ConnectionRefusedError()),
        OfflineModeIsEnabled("HF_HUB_OFFLINE=1"),
        ValueError("x"),
        FileNotFoundError(),
    ],
)
def test_what_stays_is_raised_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trouble.time, "sleep", lambda _: pytest.fail("waited"))

    def action() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently(action, "a/b")


def test_a_server_is_given_the_time_it_asks_for_but_not_forever(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    monkeypatch.setattr(trouble.time, "sleep", waited.append)
    answers = iter([answer(429, **{"Retry-After": "30"}), answer(429, **{"Retry-After": "9999"})])

    def action() -> str:
        for error in answers:
            raise error
        return "at last"

    assert patiently(action, "a/b") == "at last"
    assert waited == [30.0, trouble.LONGEST_WAIT]


def test_an_error_within_another_is_found(tmp_path: Path):
    for place in ("__cause__", "__context__"):
        outer = RuntimeError("could not load")
        setattr(outer, place, answer(429))
        assert "slow down (HTTP 429)" in raised(outer)
