"""Tokenised splits in their cache: found again, never mistaken, remade when damaged."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from iapt.backbone.tiny import tiny_tokenizer
from iapt.data import tokens
from iapt.data.encode import Encoded, encode
from iapt.data.template import Rendered
from iapt.data.tokens import encode_all

TOKENIZER = tiny_tokenizer()
TEXTS = [
    Rendered("a long instruction", "yes", ((2, 18),)),
    Rendered("ü", "no", ((0, 1),)),
    Rendered("x", "", ((0, 1),)),
]


def test_tokens_are_those_of_each_example_and_the_same_from_the_cache(tmp_path: Path):
    expected = [encode(t, TOKENIZER, 14, True) for t in TEXTS]
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
            ([*TEXTS[:2], Rendered("x", "")], TOKENIZER, 50, True),
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


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a file as another program might, its metadata kept."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(b"not tensors at all"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "no sizes": lambda path: rewritten(path, lambda t: t.pop("sizes")),
    "one row fewer": lambda path: rewritten(path, lambda t: t.update(sizes=t["sizes"][1:].clone())),
    "two columns": lambda path: rewritten(
        path, lambda t: t.update(sizes=t["sizes"][:, :2].contiguous())
    ),
    "fewer tokens": lambda path: rewritten(
        path, lambda t: t.update(tokens=t["tokens"][1:].clone())
    ),
    "another token": lambda path: rewritten(path, lambda t: t["tokens"][3].add_(1)),
    "floats": lambda path: rewritten(path, lambda t: t.update(tokens=t["tokens"].float())),
    "another's": lambda path: save_file(
        {"tokens": torch.zeros(4, dtype=torch.int32), "sizes": torch.tensor([[2, 2, 0]])}, path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again_and_told(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
):
    expected = encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    DAMAGES[damage](file)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == expected
    assert file.read_bytes() == whole
    assert capsys.readouterr().err == f"note: {file} is damaged; its tokens are computed again.\n"


def test_a_folder_in_the_files_place_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    expected = encode_all(TEXTS, TOKENIZER, 50, True, tmp_path)
    (file,) = tmp_path.iterdir()
    file.unlink()
    (file / "mine").mkdir(parents=True)
    assert encode_all(TEXTS, TOKENIZER, 50, True, tmp_path) == expected
    assert (file / "mine").is_dir()
    assert f"tokens cannot be cached in {tmp_path} (" in capsys.readouterr().err
    assert os.listdir(tmp_path) == [file.name], "a temporary file was left"


def test_a_cache_that_cannot_be_written_is_done_without_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    for texts in (TEXTS, TEXTS[:2]):
        expected = encode_all(texts, TOKENIZER, 50, True)
        assert encode_all(texts, TOKENIZER, 50, True, tmp_path / "file" / "tokens") == expected
    assert capsys.readouterr().err.count("\n") == 1


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


def test_an_example_that_does_not_fit_is_kept_as_such(tmp_path: Path):
    for _ in range(2):
        found = encode_all(TEXTS, TOKENIZER, 4, True, tmp_path)
        assert [e.fits for e in found] == [False, False, True]
        assert found == encode_all(TEXTS, TOKENIZER, 4, True)
        assert len(found[0].response) == 4
