"""Folders of JSON Lines: what is read, and what is said when it cannot be."""

import json
import socket

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


def test_rows_with_other_fields_and_mixed_types_keep_their_values(tmp_path):
    put(tmp_path, "toy", "train", [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "c": ["y"]}])
    assert Folder(tmp_path).rows("toy", "train") == [
        {"a": 1, "b": "x", "c": None},
        {"a": 2, "b": None, "c": None},
        {"a": 3, "b": None, "c": ["y"]},
    ]
    put(tmp_path, "toy", "test", [{"a": 1}, {"a": "one"}])
    assert [row["a"] for row in Folder(tmp_path).rows("toy", "test")] == [1, "one"]


def test_a_changed_file_is_read_anew_even_with_the_old_time(tmp_path):
    import os

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
    ],
)
def test_a_broken_file_is_named_with_its_line(text, message, tmp_path):
    put(tmp_path, "toy", "train", text)
    with pytest.raises(DataError, match=message):
        Folder(tmp_path).rows("toy", "train")


def test_a_cut_off_last_line_is_an_error_and_not_a_lost_row(tmp_path):
    path = put(tmp_path, "toy", "train", [{"a": "x" * 50}] * 40)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="line 40: not JSON"):
        read_jsonl(path, tmp_path / "cache")


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
