"""Tokenised splits in their cache: found again, never mistaken, remade when damaged."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from iapt.backbone.tiny import tiny_tokenizer
from iapt.data import tokens
from iapt.data.encode import Encoded, encode
from iapt.data.template import Rendered
from iapt.data.tokens import encode_all
from iapt.errors import DataError

TOKENIZER = tiny_tokenizer()
TEXTS = [Rendered("a long instruction", "yes"), Rendered("ü", "no"), Rendered("x", "")]


def test_tokens_are_those_of_each_example_and_the_same_from_the_cache(tmp_path: Path):
    expected = [encode(t.instruction, t.response, TOKENIZER, 14, True) for t in TEXTS]
    assert expected[0].truncated > 0
    assert encode_all(TEXTS, TOKENIZER, 14, True) == expected
    assert encode_all(TEXTS, TOKENIZER, 14, True, tmp_path) == expected
    assert encode_all(TEXTS, TOKENIZER, 14, True, tmp_path) == expected
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"]


def test_the_second_time_nothing_is_tokenised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)

    def never(*_: Any) -> Encoded:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokens, "encode", never)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == first


def test_whatever_changes_the_tokens_changes_the_file(tmp_path: Path):
    other = tiny_tokenizer()
    other.add_tokens(["instruction"])
    ends = tiny_tokenizer()
    ends.eos_token = "<pad>"
    starts = tiny_tokenizer()
    starts.bos_token = "<pad>"
    encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)
    for number, arguments in enumerate(
        [
            (TEXTS[:2], TOKENIZER, 50, True),
            ([*TEXTS[:2], Rendered("x", "y")], TOKENIZER, 50, True),
            (TEXTS, TOKENIZER, 51, True),
            (TEXTS, TOKENIZER, 50, False),
            (TEXTS, other, 50, True),
            (TEXTS, ends, 50, True),
            (TEXTS, starts, 50, True),
        ],
        start=2,
    ):
        assert encode_all(*arguments, tmp_path) == encode_all(*arguments)
        assert len(list(tmp_path.iterdir())) == number


@pytest.mark.parametrize("damage", [b"", b"not tensors at all", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes | None):
    expected = encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == expected
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    "kept", [{"sizes": slice(-1)}, {"tokens": slice(-1)}, {"sizes": slice(-1), "tokens": slice(-3)}]
)
def test_a_whole_file_with_other_counts_is_made_again(tmp_path: Path, kept: dict[str, slice]):
    expected = encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)
    (file,) = tmp_path.iterdir()
    tensors = load_file(file)
    save_file(tensors | {name: tensors[name][part].clone() for name, part in kept.items()}, file)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == expected
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == expected


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path: Path):
    (tmp_path / "file").write_text("")
    expected = encode_all(TEXTS, TOKENIZER, 50, True)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path / "file" / "tokens") == expected


def test_a_response_that_does_not_fit_names_the_example():
    with pytest.raises(DataError, match=r"example 0: .*Raise hparams\.max_length"):
        encode_all(TEXTS, TOKENIZER, 5, True)
    with pytest.raises(DataError, match="example 1: "):
        encode_all([Rendered("x", "y"), Rendered("x", "a long answer")], TOKENIZER, 9, True)
