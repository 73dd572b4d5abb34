"""Files are whole or absent, and what is wrong with one is said with its name."""

import errno
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iapt import files
from iapt.checksums import remembered_sha256, sha256_of
from iapt.errors import ConfigError, DataError, StorageError
from iapt.files import (
    check_writable,
    expanded,
    note,
    read_json,
    read_lines,
    read_text,
    replacing,
    write_json,
    write_lines,
    write_text,
)


def test_what_is_written_is_read_back_and_parents_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a" / "b.json") == {"ä": [1, None]}
    write_lines(tmp_path / "c.jsonl", [{"n": 1}, {"n": 2}])
    assert list(read_lines(tmp_path / "c.jsonl")) == [(1, {"n": 1}), (2, {"n": 2})]
    assert [p.name for p in tmp_path.rglob("*.tmp")] == []


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    for letter, size in (("x", 1), ("é", 2)):
        path = tmp_path / (letter * (250 // size) + ".json")
        write_json(path, 1)
        assert read_json(path) == 1


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"a\.json: cannot be written \(No space left on device\)"
    ):
        write_json(path, "new")
    assert read_json(path) == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_error_in_the_block_passes_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replacing(tmp_path / "a") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError("x")
    assert os.listdir(tmp_path) == []


def test_two_writers_of_one_file_have_their_own_temporary_names(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert (tmp_path / "a").read_text() == "1"  # the outer block ends last


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/a: cannot be written"):
        write_json(tmp_path / "file" / "a", 1)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b'{"a": 1}\n[1]\n', "line 2: a list, not an object"),
        (b'{"a": 1, "a": 2}\n', "line 1: not JSON .the field 'a' occurs twice"),
        (b'{"a": NaN}\n', "line 1: not JSON .NaN is not a JSON value"),
        (b'{"a": "\xff"}\n', "line 1: not UTF-8 text"),
        (b'\n{"a": "\\ud800"}\n', "line 2: half of a surrogate pair"),
        (b"[" * 100_000, "line 1: not JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, text: bytes, wrong: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(text)
    with pytest.raises(DataError, match=wrong):
        list(read_lines(tmp_path / "a.jsonl"))


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    for read in (read_json, sha256_of, lambda path: list(read_lines(path))):
        with pytest.raises(DataError, match="a cannot be read: No such file"):
            read(tmp_path / "a")
    (tmp_path / "b").write_text("{")
    with pytest.raises(DataError, match="b is not JSON"):
        read_json(tmp_path / "b")


def test_without_a_home_nothing_is_kept_anywhere(monkeypatch):
    monkeypatch.delenv("IAPT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(files.Path, "expanduser", homeless)
    with pytest.raises(StorageError):
        files.write_text(files.cache_root() / "a", "b")


HOLDS = """
import sys, time
from pathlib import Path
from iapt.files import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_is_at_work_and_a_killed_one_holds_nothing(tmp_path, capfd):
    words = [sys.executable, "-c", HOLDS, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as first, subprocess.Popen(words, **pipes) as second:
        ready, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
        assert len(ready) == 1, "both at once"
        holder = first if ready[0] is first.stdout else second
        other = second if holder is first else first
        assert select.select([other.stdout], [], [], 0.2)[0] == []
        holder.kill()
        assert other.stdout.readline() == b"True\n"
        other.communicate()
    assert "waiting for another process" in capfd.readouterr().err


def test_a_json_file_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no room on the disk
    with pytest.raises(
        DataError, match=r"big\.json has 1,099,511,627,776 bytes of at most 67,108,864"
    ):
        read_json(path)


def test_a_line_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_text('{"a": 1}\n')
    with path.open("ab") as file:
        file.truncate(2**40)
    lines = read_lines(path, bad=[])
    assert next(lines) == (1, {"a": 1})
    with pytest.raises(DataError, match=r"big\.jsonl has a line of more than 67,108,864 bytes"):
        next(lines)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "/: cannot be written (Is a directory)."),
        (".", ".: cannot be written (Is a directory)."),
        ("https://me:pw@host/a", "(an address, not a place on this machine)."),
    ],
)
def test_what_is_no_file_of_this_machine_is_not_written(
    path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=re.escape(said)):
        write_text(Path(path), "x")
    with pytest.raises(StorageError):
        check_writable(Path("https://me:pw@host"))
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_is_the_home_folder_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/runs") == Path("/home/me/runs")
    with pytest.raises(ConfigError, match=r"^~nobody1/x: no such home folder"):
        expanded("~nobody1/x")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, reason in {
        tmp_path / "file": "File exists",
        tmp_path / "file" / "below": "Not a directory",
    }.items():
        with pytest.raises(StorageError) as caught:
            check_writable(folder)
        assert str(caught.value) == f"{folder}: the folder cannot be written ({reason})."


def test_a_note_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    note("\x1b[2Jpath is damaged.")
    assert capsys.readouterr().err == "note: \ufffd[2Jpath is damaged.\n"


@pytest.mark.parametrize(
    "read",
    [read_json, read_text, sha256_of, remembered_sha256, lambda path: list(read_lines(path))],
)
def test_a_pipe_is_not_waited_for_and_a_folder_is_no_file(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe cannot be read: not a regular file"):
        read(tmp_path / "pipe")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_text_is_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ä\r\n".encode())
    assert read_text(tmp_path / "a") == "ä\r\n"
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(DataError, match="a is not UTF-8 text"):
        read_text(tmp_path / "a")


def test_partial_files_go_if_their_process_is_dead_or_they_are_a_day_old(tmp_path, monkeypatch):
    live = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = files._host()
    names = {
        "dead": f".a.json.{host}-{dead.pid}-0123abcd.tmp",
        "alive": f".a.json.{host}-{live.pid}-0123abcd.tmp",
        "elsewhere": f".a.json.other-{dead.pid}-0123abcd.tmp",
        "old": f".b.json.other-{live.pid}-0123abcd.tmp",
        "not ours": f".a.json.{dead.pid}.tmp",
    }
    try:
        for name in names.values():
            (tmp_path / name).touch()
        os.utime(tmp_path / names["old"], (0, 0))
        files.remove_partials(tmp_path)
        left = {key for key, name in names.items() if (tmp_path / name).exists()}
        assert left == {"alive", "elsewhere", "not ours"}
        files.remove_partials(tmp_path / "absent")
    finally:
        live.communicate(b"\n")


def test_a_partial_file_names_its_process(tmp_path):
    with files.replacing(tmp_path / "a.json") as partial:
        partial.touch()
        files.remove_partials(tmp_path)
        assert partial.exists()
        assert f".{files._host()}-{os.getpid()}-" in partial.name
