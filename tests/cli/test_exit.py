from pathlib import Path

import pytest

from iapt.cli.exit import guarded


def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def long_name() -> None:
        Path("x" * 300).stat()

    assert guarded(long_name) == 1
    said = capsys.readouterr().err
    assert said == f"error: {'x' * 200}: File name too long.\n"


def test_a_command_without_an_output_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert guarded(lambda: print("nobody sees this")) == 0
