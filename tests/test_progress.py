"""Progress: a bar on a terminal, plain lines in a file."""

import sys

import pytest
from tqdm import tqdm

from iapt.progress import SECONDS, progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_in_a_file_it_is_plain_lines_now_and_then(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with progress("training", "step", 100, 20, clock=clock) as bar:
        for step in range(80):
            clock.now += SECONDS / 10
            bar.set_postfix_str(f"loss {step}")
            bar.update(1)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert len(lines) == 7
    assert lines[0] == "training: 30 of 100 steps, 3.00 s each, 03:30 left, loss 9"
    assert lines[-1] == "training: 90 of 100 steps, 3.00 s each, 00:30 left, loss 69"


def test_more_than_the_total_is_no_line_with_time_left(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with progress("training", "step", 2, clock=clock) as bar:
        clock.now += 2 * SECONDS
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_what_has_no_known_end_is_counted(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with progress("searching", "folder", clock=clock) as bar:
        for _ in range(25):
            clock.now += SECONDS / 10
            bar.update()
    assert capsys.readouterr().err == "searching: 10 folders\nsearching: 20 folders\n"


def test_what_is_written_beside_it_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]):
    with progress("training", "step", 2) as bar:
        bar.write("step 0")
        bar.update(2)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("step 0\n", "")


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("training", "step", 2) as bar:
        assert isinstance(bar, tqdm)
        bar.update(2)


def test_hidden_it_shows_nothing(capsys: pytest.CaptureFixture[str]):
    with progress("training", "step", 100, hidden=True) as bar:
        bar.update(100)
    assert capsys.readouterr().err == ""
