"""`iapt-judge` with run folders and places that are broken: one line each, before a key or a reply."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from iapt.cli.judge import main
from tests.cli import test_judge
from tests.cli.test_judge import RUN_A, RUN_B, judge
from tests.judge.judge_server import JudgeServer

pytest.importorskip("openai")
place, server = test_judge.place, test_judge.server  # its fixtures


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (Path.unlink, "has no predictions.jsonl"),
    (_pipe, "has no predictions.jsonl"),
    (_loop, "has no predictions.jsonl"),
    (lambda file: (file.unlink(), file.mkdir()), "has no predictions.jsonl"),
    (lambda file: file.write_bytes(b""), "holds no answer"),
    (lambda file: file.write_bytes(b"\x00\xff" * 500), "line 1: not UTF-8 text"),
    (lambda file: file.write_text("[" * 100_000), "line 1: not JSON"),
    (lambda file: file.write_text('{"id": "mt_bench/test/0", "output": {}}'), "'output' is {}"),
    (lambda file: file.write_text('{"id": [81], "output": "x"}'), "holds no answer"),
    (
        lambda file: file.write_text(
            '{"id": "mt_bench/test/0", "output": "x", "references": {"a": 1}}'
        ),
        "is not GPT-4's answer",
    ),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_broken_answers_are_one_line_before_the_key_is_asked_for(
    damage: Callable[[Path], object],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    damage(place / RUN_B / "predictions.jsonl")

    assert main([RUN_A, RUN_B, "data=data"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_where_nothing_can_be_kept_nothing_is_paid_for(
    place: Path, server: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("")
    (place / "rows").mkdir()
    (place / "rows" / f"{RUN_B}.json").write_text("{")
    for word in ("out=file", "cache=file", "rows=rows"):
        assert judge(server, word) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert word.partition("=")[2] in line
    assert server.bodies == []
