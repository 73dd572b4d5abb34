"""Folders of JSON Lines: what is read, and what is said when it cannot be."""

import errno
import json
import os
import socket
import time
from pathlib import Path

import pytest

from iapt.data.source import Folder, Sample, limited, read_jsonl
from iapt.errors import ConfigError, DataError


def put(folder, dataset, split, rows):
    path = folder / dataset / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = rows if isinstance(rows, str) else "".join(json.dumps(r) + "\n" for r in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_come_back_as_written_in_order_and_without_a_network(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    rows = [
        {"s": "ä \u2028 line", "n": 3, "l": ["a", "b"], "d": {"text": [], "start": []}},
        {"s": "", "n": -1, "l": [], "d": {"text": ["x"], "start": [4]}},
    ]
    put(tmp_path, "toy", "train", rows)
    assert Folder(tmp_path).rows("toy", "train") == rows


@pytest.mark.parametrize("value", ["2020-01-01", "2020-01-01T10:00:00", "12:30:00", "007", "true"])
def test_text_that_looks_like_something_else_stays_text(value, tmp_path):
    rows = [{"answer": value, "l": [value], "d": {"x": value}, "t": [[value]]}] * 3
    put(tmp_path, "toy", "train", rows)
    assert Folder(tmp_path).rows("toy", "train") == rows


def test_a_field_that_a_row_lacks_is_none(tmp_path):
    put(tmp_path, "toy", "train", [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "c": ["y"]}])
    assert Folder(tmp_path).rows("toy", "train") == [
        {"a": 1, "b": "x", "c": None},
        {"a": 2, "b": None, "c": None},
        {"a": 3, "b": None, "c": ["y"]},
    ]


@pytest.mark.parametrize(
    "values", [[1, "one"], ["007", 7], [True, "x"], [[1], ["x"]], [{"x": 1}, {"x": "1"}], [1, [1]]]
)
def test_a_field_of_several_types_is_refused_not_converted(values, tmp_path):
    put(tmp_path, "toy", "train", [{"id": i, "a": value} for i, value in enumerate(values)])
    with pytest.raises(
        DataError, match=r"the values of 'a', or their parts, are not all of one type.* in line \d"
    ):
        Folder(tmp_path).rows("toy", "train")


def test_a_field_with_other_parts_in_other_rows_comes_back_as_written(tmp_path):
    rows = [{"a": {"x": 1}, "l": [{"y": "1"}, {}]}, {"a": {"z": "2"}, "l": []}]
    put(tmp_path, "toy", "train", rows)
    assert Folder(tmp_path).rows("toy", "train") == rows


def test_a_changed_file_is_read_anew_even_with_the_old_time(tmp_path):
    path = put(tmp_path, "toy", "train", [{"a": "old"}])
    before = path.stat()
    first = Folder(tmp_path)
    assert first.rows("toy", "train") == [{"a": "old"}]
    put(tmp_path, "toy", "train", [{"a": "new"}])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Folder(tmp_path).rows("toy", "train") == [{"a": "new"}]


def test_the_fingerprint_follows_bytes_and_names(tmp_path):
    path = put(tmp_path, "toy", "train", [{"a": 1}])
    first = Folder(tmp_path).fingerprint("toy")
    assert len(first) == 16
    assert Folder(tmp_path).fingerprint("toy") == first
    path.rename(path.with_name("test.jsonl"))
    second = Folder(tmp_path).fingerprint("toy")
    put(tmp_path, "toy", "test", [{"a": 2}])
    assert len({first, second, Folder(tmp_path).fingerprint("toy")}) == 3


def test_the_fingerprint_does_not_follow_the_order_in_which_a_file_system_lists(
    tmp_path, monkeypatch
):
    for split in ("train", "test", "validation"):
        put(tmp_path, "toy", split, [{"a": split}])
    found, listed = [], Path.glob
    for backwards in (False, True):
        monkeypatch.setattr(
            Path,
            "glob",
            lambda self, pattern, way=backwards: iter(sorted(listed(self, pattern), reverse=way)),
        )
        found.append(Folder(tmp_path).fingerprint("toy"))
    assert found[0] == found[1]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "mine", "toy", "train", [{"a": 1}])
    assert Folder("~/mine").rows("toy", "train") == [{"a": 1}]
    assert Folder("~/mine").at("~/mine/toy").rows("toy", "train") == [{"a": 1}]


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path):
    put(tmp_path, "toy", "train", [{"a": 1}])
    before = Folder(tmp_path).fingerprint("toy")
    (tmp_path / "toy" / "test.jsonl").mkdir()
    assert Folder(tmp_path).fingerprint("toy") == before
    with pytest.raises(DataError, match=r"has no test.jsonl; it has train\."):
        Folder(tmp_path).rows("toy", "test")
    with pytest.raises(DataError, match=r"train.jsonl is not a folder"):
        Folder(tmp_path / "toy" / "train.jsonl").rows("toy", "train")


def test_a_pipe_in_the_place_of_a_file_or_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(put(tmp_path, "toy", "test", [{"a": 1}]).with_name("train.jsonl"))
    with pytest.raises(DataError, match=r"has no train.jsonl; it has test\."):
        Folder(tmp_path).rows("toy", "train")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"data folder .*pipe is not a folder"):
        Folder(tmp_path / "pipe").fingerprint("toy")
    with pytest.raises(DataError, match=r"task.folder=.*pipe is not a folder"):
        Sample().at(str(tmp_path / "pipe")).rows("toy", "train")


@pytest.mark.parametrize("denied", ["is_dir", "is_file"])
def test_a_folder_that_may_not_be_looked_into_is_named(denied, tmp_path, monkeypatch):
    put(tmp_path, "toy", "train", [{"a": 1}])

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, denied, refuse)
    for ask in (Folder(tmp_path).fingerprint, lambda name: Folder(tmp_path).rows(name, "train")):
        with pytest.raises(DataError, match=f"{tmp_path}.* cannot be read: Permission denied"):
            ask("toy")


def test_what_is_missing_and_what_is_there_are_both_named(tmp_path):
    put(tmp_path, "boolq", "train", [{"a": 1}])
    (tmp_path / "empty").mkdir()
    source = Folder(tmp_path)
    with pytest.raises(DataError, match=r"has no validation.jsonl; it has train\."):
        source.rows("boolq", "validation")
    with pytest.raises(
        DataError, match=r"no data set 'bolq'; it has boolq\..*Did you mean 'boolq'"
    ):
        source.rows("bolq", "train")
    with pytest.raises(DataError, match=r"has no train.jsonl; it has no .jsonl file"):
        source.rows("empty", "train")
    with pytest.raises(DataError, match=r"nowhere does not exist.*data=sample"):
        Folder(tmp_path / "nowhere").rows("boolq", "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"a": 1}\n{"a": \n', r"train.jsonl, line 2: not JSON"),
        ('{"a": 1}\nnonsense\n', r"train.jsonl, line 2: not JSON"),
        ('{"a": 1}\n[1]\n', r"train.jsonl, line 2: a list, not an object"),
        ("\n\n", r"has no rows"),
        ('{"a": 1}\n\n{"a": 1, "a": 2}\n', r"line 3: not JSON \(the field 'a' occurs twice"),
        ('{"a": {"b": 1, "b": 2}}\n', r"line 1: not JSON \(the field 'b' occurs twice"),
        ('{"a": NaN}\n', r"line 1: not JSON \(NaN is not a JSON value"),
        ('{"a": "x\\ud800"}\n', r"line 1: half of a surrogate pair"),
        ('{"a": 1} {"a": 2}\n', r"line 1: not JSON \(Extra data"),
        ('[{"a": 1}]\n', r"line 1: a list, not an object"),
        ('{"a": ' + "[" * 20_000 + "]" * 20_000 + "}\n", r"line 1: not JSON"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text, message, tmp_path):
    put(tmp_path, "toy", "train", text)
    with pytest.raises(DataError, match=message):
        Folder(tmp_path).rows("toy", "train")


def test_bytes_that_are_no_utf_8_are_named_with_their_line(tmp_path):
    path = put(tmp_path, "toy", "train", [{"a": "x"}])
    path.write_bytes(path.read_bytes() + '{"a": "caf\xe9"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match=r"train.jsonl, line 2: not UTF-8 text"):
        Folder(tmp_path).rows("toy", "train")


def test_a_byte_order_mark_crlf_and_blank_lines_do_no_harm_and_lines_are_still_counted(tmp_path):
    path = put(tmp_path, "toy", "train", "")
    path.write_bytes(b'\xef\xbb\xbf{"a": "\\ud83d\\ude42"}\r\n\r\n{"a": "b"}')
    source = Folder(tmp_path)
    assert source.rows("toy", "train") == [{"a": "\N{SLIGHTLY SMILING FACE}"}, {"a": "b"}]
    assert source.place("toy", "train", 1) == f"{path}, line 3"


def test_many_rows_with_fields_of_their_own_are_read_in_a_moment(tmp_path):
    rows = [{"a": i, "b": "x", "c": None if i % 2 else "y"} for i in range(20_000)]
    put(tmp_path, "toy", "train", rows)
    started = time.process_time()
    assert Folder(tmp_path).rows("toy", "train") == rows
    assert time.process_time() - started < 20  # a pass over all rows for each row takes minutes


def test_a_cut_off_last_line_is_an_error_and_not_a_lost_row(tmp_path):
    path = put(tmp_path, "toy", "train", [{"a": "x" * 50}] * 40)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="line 40: not JSON"):
        read_jsonl(path)


def test_the_sample_is_a_folder_named_sample():
    source = Sample()
    assert source.name == "sample"
    assert len(source.rows("boolq", "train")) == 400
    assert source.rows("boolq", "train") is source.rows("boolq", "train")


def test_a_limit_takes_the_first_of_one_fixed_shuffle():
    items = list(range(100))
    assert limited(items, None) == limited(items, 100) == limited(items, 500) == items
    ten = limited(items, 10)
    assert len(set(ten)) == 10
    assert ten != items[:10]
    assert limited(items, 5) == ten[:5]
    assert limited(items, 10) == ten == [16, 46, 31, 87, 92, 96, 10, 93, 82, 74]
    with pytest.raises(ConfigError, match="limit=0: must be at least 1"):
        limited(items, 0)
