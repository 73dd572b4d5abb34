"""Tokenised splits, made once and kept under a hash of everything they depend on."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from iapt.data.encode import Encoded, encode
from iapt.data.template import Rendered
from iapt.errors import DataError, StorageError
from iapt.files import replacing


@dataclass(frozen=True)
class Tokens:
    """How a backbone reads text.

    Attributes:
        tokenizer: a transformers tokenizer.
        template: the backbone's system wrapper, with one `{query}`.
        bos: whether its BOS token goes in front.
        max_length: tokens for instruction and response together.
    """

    tokenizer: Any
    template: str
    bos: bool
    max_length: int


def encode_all(
    rendered: Sequence[Rendered],
    tokenizer: Any,
    max_length: int,
    bos: bool,
    cache: Path | None = None,
) -> list[Encoded]:
    """Tokenise a split.

    Args:
        rendered: instructions and responses.
        tokenizer: a transformers (fast) tokenizer.
        max_length: see `encode`.
        bos: see `encode`.
        cache: folder for the tokens; the file's name is a hash of texts, tokenizer and arguments.

    Raises:
        DataError: a response alone is longer than `max_length`.
    """
    path = cache and cache / f"{_key(rendered, tokenizer, max_length, bos)}.safetensors"
    examples = _kept(path, len(rendered)) if path else []
    if examples:
        return examples
    for number, item in enumerate(rendered):
        try:
            examples.append(encode(item.instruction, item.response, tokenizer, max_length, bos))
        except ValueError as error:
            raise DataError(
                f"example {number}: {error} It begins {item.response[:60]!r}. Raise hparams.max_length "
                "as far as the backbone's positions go, or leave the row out."
            ) from error
    if path:
        # Tokens that cannot be kept are made again the next time.
        with suppress(StorageError, SafetensorError), replacing(path) as temporary:
            save_file(_pack(examples), temporary)
    return examples


def _kept(path: Path, count: int) -> list[Encoded]:
    """Read kept tokens; none if there are none, or the file is damaged or holds another number."""
    try:
        tensors = load_file(path)
        whole = int(tensors["sizes"][:, :2].sum()) == len(tensors["tokens"])
        examples = _unpack(tensors)
    except (SafetensorError, KeyError, IndexError, ValueError, OSError):
        return []
    return examples if whole and len(examples) == count else []


def _key(rendered: Sequence[Rendered], tokenizer: Any, max_length: int, bos: bool) -> str:
    digest = hashlib.sha256(
        f"1 {max_length} {bos} {tokenizer.bos_token_id} {tokenizer.eos_token_id}".encode()
    )
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for item in rendered:
        digest.update(json.dumps([item.instruction, item.response]).encode())
    return digest.hexdigest()[:32]


def _pack(examples: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    return {
        "tokens": torch.tensor(
            [t for e in examples for t in e.instruction + e.response], dtype=torch.int32
        ),
        "sizes": torch.tensor(
            [(len(e.instruction), len(e.response), e.truncated) for e in examples]
        ),
    }


def _unpack(tensors: dict[str, torch.Tensor]) -> list[Encoded]:
    tokens, examples, start = tensors["tokens"].tolist(), [], 0
    for n, m, cut in tensors["sizes"].tolist():
        middle = start + n
        examples.append(
            Encoded(tuple(tokens[start:middle]), tuple(tokens[middle : middle + m]), cut)
        )
        start = middle + m
    return examples
