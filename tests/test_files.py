"""Files are whole or absent, and what is wrong with one is said with its name."""

import errno
import os
from pathlib import Path

import pytest

from iapt import files
from iapt.errors import DataError, StorageError
from iapt.files import read_json, read_lines, replacing, sha256_of, write_json, write_lines


def test_what_is_written_is_read_back_and_parents_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a" / "b.json") == {"ä": [1, None]}
    write_lines(tmp_path / "c.jsonl", [{"n": 1}, {"n": 2}])
    assert list(read_lines(tmp_path / "c.jsonl")) == [(1, {"n": 1}), (2, {"n": 2})]
    assert [p.name for p in tmp_path.rglob("*.tmp")] == []


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
        (b'{"a": 1, "a": 2}\n', "line 1: not JSON .the field 'a' is there twice"),
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


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")
