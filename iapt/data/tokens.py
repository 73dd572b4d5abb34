"""Tokenised splits, cached under a hash of everything they depend on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iapt.data.encode import Encoded, encode
from iapt.data.template import Rendered
from iapt.errors import DataError, StorageError
from iapt.files import note
from iapt.tensors import read_sealed, write_sealed


@dataclass(frozen=True)
class Tokens:
    """How a backbone reads text.

    Attributes:
        tokenizer: a transformers tokenizer.
        template: the backbone's system wrapper, with one `{query}`.
        bos: whether to prepend the tokenizer's BOS token.
        max_length: the most tokens of instruction and response together.
    """

    tokenizer: Any
    template: str
    bos: bool
    max_length: int

    def plainly(self, text: str) -> list[int]:
        """Encode a text without the template."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [self.tokenizer.bos_token_id, *ids] if self.bos else ids


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
        cache: folder for the tokens; a file's name is a hash of texts, tokenizer and arguments.

    Returns:
        The tokens of each example; `fits` is false where the response is too long.
    """
    path = cache and cache / f"{_key(rendered, tokenizer, max_length, bos)}.safetensors"
    if path and (kept := _read(path)) is not None:
        return kept
    examples = [encode(item, tokenizer, max_length, bos) for item in rendered]
    if path:
        _keep(path, examples)
    return examples


def _read(path: Path) -> list[Encoded] | None:
    """Return the examples of a file that is exactly as `_keep` wrote it, else None."""
    if not path.exists():
        return None
    try:
        return _unpack(read_sealed(path)[0])
    except DataError:
        note(f"{path} is damaged; its tokens are computed again.")
        return None


def _keep(path: Path, examples: Sequence[Encoded]) -> None:
    """Write the examples; if that is impossible, continue without the cache."""
    try:
        write_sealed(path, _pack(examples), None)
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        note(f"tokens cannot be cached in {path.parent} ({reason}); every run computes them again.")


def _key(rendered: Sequence[Rendered], tokenizer: Any, max_length: int, bos: bool) -> str:
    digest = hashlib.sha256(
        f"3 {max_length} {bos} {tokenizer.bos_token_id} {tokenizer.eos_token_id}".encode()
    )
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for item in rendered:
        digest.update(json.dumps([item.instruction, item.response, item.fields]).encode())
    return digest.hexdigest()[:32]


def _pack(examples: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    tokens = [t for e in examples for t in e.instruction + e.response]
    sizes = [(len(e.instruction), len(e.response), e.truncated) for e in examples]
    return {"tokens": torch.tensor(tokens, dtype=torch.int32), "sizes": torch.tensor(sizes)}


def _unpack(tensors: dict[str, torch.Tensor]) -> list[Encoded]:
    tokens, examples, start = tensors["tokens"].tolist(), [], 0
    for n, m, cut in tensors["sizes"].tolist():
        middle, end = start + n, start + n + m
        examples.append(Encoded(tuple(tokens[start:middle]), tuple(tokens[middle:end]), cut))
        start = end
    return examples
