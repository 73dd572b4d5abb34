import errno
import io
import os
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from iapt.cli.command import Command
from iapt.cli.exit import guarded
from iapt.errors import ConfigError


def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def long_name() -> None:
        Path("x" * 300).stat()

    assert guarded(long_name) == 1
    said = capsys.readouterr().err
    assert said == f"error: {'x' * 200}: File name too long.\n"


def test_faults_without_number_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError("\n".join(f"fault {n}" for n in range(3000)))

    assert guarded(fail) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["error: fault 0", "fault 1"]
    assert said[-2:] == ["fault 19", "and 2980 more."]


def test_a_value_without_end_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError(f"text={'x' * 100_000}: must be short.")

    assert guarded(fail) == 2
    assert len(capsys.readouterr().err) < 2000


def test_no_message_holds_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError("\x1b[2J\x07name\u202e=1:\tmust be\nshort")

    assert guarded(fail) == 2
    assert capsys.readouterr().err == "error: \ufffd[2J\ufffdname\ufffd=1:\tmust be\nshort\n"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_shown_our_marks_and_nothing_else_that_it_obeys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, file = Screen(), io.StringIO()
    text = "\x1b[1mbest\x1b[0m \x1b[31m\x1b]0;title\x07\n"
    for stream in (screen, file):
        monkeypatch.setattr("sys.stdout", stream)
        assert guarded(lambda: print(text, end="")) == 0
        assert sys.stdout is stream
    assert screen.getvalue() == "\x1b[1mbest\x1b[0m \ufffd[31m\ufffd]0;title\ufffd\n"
    assert file.getvalue() == text


def test_a_word_that_is_not_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Command("iapt-toy", "NAME", "Play.", at_most=1)
    assert toy.main(lambda words: None, ["\udcff"]) == 2
    assert capsys.readouterr().err.startswith("error: argument '\\udcff': not UTF-8 text")


def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise MemoryError

    assert guarded(fail) == 1
    assert capsys.readouterr().err.startswith("error: there is not enough memory")


def test_a_command_without_an_output_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert guarded(lambda: print("nobody sees this")) == 0
    sys.stdout.close()


def test_a_closed_output_can_be_asked_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert guarded(lambda: print(sys.stdout.isatty())) == 0
    sys.stdout.close()


def test_a_full_output_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        with Path("/dev/full").open("w") as full:
            full.write("x")

    assert guarded(write) == 1
    assert capsys.readouterr().err == "error: standard output: No space left on device.\n"


def test_an_output_beyond_a_quota_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    assert guarded(write) == 1
    assert capsys.readouterr().err == "error: standard output: Disk quota exceeded.\n"


def test_a_deleted_working_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    gone.rmdir()
    assert Command("iapt-toy", "", "Play.").main(lambda words: None, []) == 2
    assert capsys.readouterr().err.startswith(f"error: {gone}: the working folder was deleted")


@pytest.mark.parametrize("time", ["", "x", "1e9"])
def test_a_time_that_numpy_does_not_load_with_is_named(
    time: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
    assert Command("iapt-toy", "", "Play.").main(lambda words: None, []) == 2
    assert capsys.readouterr().err == (
        f"error: SOURCE_DATE_EPOCH={time!r}: must be a whole number of seconds; set one, or unset it.\n"
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert Command("iapt-toy", "", "Play.").main(lambda words: None, []) == 0


def test_what_hydra_says_is_one_line_with_the_key_in_front(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def resolve() -> None:
        OmegaConf.to_container(OmegaConf.create({"a": {"b": "${c}"}}), resolve=True)

    assert guarded(resolve) == 2
    assert capsys.readouterr().err == "error: a.b: Interpolation key 'c' not found.\n"
