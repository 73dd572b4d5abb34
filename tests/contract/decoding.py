"""Checks of decoding."""

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.inference.generate import decode_batch
from tests.backbone import literal
from tests.contract.subject import ATOL, Subject, gap, whole
from tests.tiny import PAD, padded

NEW = 6
NEVER = 10**6  # an end token that no model writes


def new_tokens(
    backbone: Backbone, rows: list[tuple[int, ...]], beams: int, eos: int, side: str = "right"
) -> list[list[int]]:
    """Decode in one padded batch; each row without its trailing pads."""
    ids, mask = padded(rows, side)
    out = decode_batch(
        backbone,
        ids,
        mask,
        num_beams=beams,
        max_new_tokens=NEW,
        eos_token_id=eos,
        pad_token_id=PAD,
    )
    return [_stripped(row, eos) for row in out.tolist()]


def _stripped(row: list[int], eos: int) -> list[int]:
    return row[: row.index(eos) + 1] if eos in row else row


def early_end(backbone: Backbone, rows: list[tuple[int, ...]]) -> int:
    """A token that some row writes early when nothing stops it: as end token, lengths differ."""
    return new_tokens(backbone, rows, 1, NEVER)[0][2]


def greedy_is_argmax_of_forward(subject: Subject) -> None:
    """Greedy decoding equals an argmax loop over whole-sequence logits, nothing cached."""
    backbone, rows = subject.backbone, subject.instructions()
    subject.attach()
    eos = early_end(backbone, rows)
    found = new_tokens(backbone, rows, 1, eos)
    for row, answer in zip(rows, found, strict=True):
        expected: list[int] = []
        while len(expected) < NEW and eos not in expected:
            ids = torch.tensor([[*row, *expected]])
            seen = torch.arange(ids.shape[1])[None] < len(row)
            with torch.no_grad():
                logits = backbone(ids, None, seen)[0, -1]
            expected.append(int(logits.argmax()))
        assert answer == expected


def beams_need_no_cache(subject: Subject) -> None:
    """Three beams over the cache write what three beams without any cache write."""
    backbone, rows = subject.backbone, subject.instructions()
    subject.attach()
    eos = early_end(backbone, rows)
    found = new_tokens(backbone, rows, 3, eos)
    with patch.object(literal, "Generating", literal.Uncached):
        out = literal.Literal(backbone).generate(*padded(rows, "left"), 3, NEW, eos)
    assert [_stripped(row, eos) for row in out.tolist()] == found


def decoding_is_literal(subject: Subject) -> None:
    """Packed weights, shared beams and our own search write what the long way writes."""
    backbone, rows = subject.backbone, subject.instructions()
    subject.attach()
    for beams, eos in ((1, early_end(backbone, rows)), (3, early_end(backbone, rows)), (3, NEVER)):
        out = literal.Literal(backbone).generate(*padded(rows), beams, NEW, eos)
        for side in ("left", "right"):
            found = new_tokens(backbone, rows, beams, eos, side)
            assert [_stripped(row, eos) for row in out.tolist()] == found


def batch_equals_alone(subject: Subject) -> None:
    """A padded batch writes what each row writes alone, greedy and with beams."""
    backbone, rows = subject.backbone, subject.instructions()
    subject.attach()
    eos = early_end(backbone, rows)
    for beams in (1, 3):
        alone = [new_tokens(backbone, [row], beams, eos)[0] for row in rows]
        for side in ("left", "right"):
            assert new_tokens(backbone, rows, beams, eos, side) == alone


def prompts_are_made_once(subject: Subject) -> None:
    """Prompt functions run once, on unrepeated rows, at prefill; never for a new token."""
    backbone, rows = subject.backbone, subject.instructions()
    calls: list[int] = []
    soft_prompt, kv_prefix = backbone.soft_prompt, backbone.kv_prefix

    def counted(layer: int, fn: Any, **options: Any) -> None:
        def once(h: Tensor, mask: Tensor) -> Tensor:
            calls.append(len(h))
            return fn(h, mask)

        soft_prompt(layer, once, **options)

    def counted_prefix(layer: int, fn: Any) -> None:
        def once() -> tuple[Tensor, Tensor]:
            calls.append(len(rows))
            return fn()

        kv_prefix(layer, once)

    with (
        patch.object(backbone, "soft_prompt", counted),
        patch.object(backbone, "kv_prefix", counted_prefix),
    ):
        method = subject.attach()
    places = sum(map(len, backbone._prompts)) + sum(p is not None for p in backbone._prefixes)
    assert bool(places) == bool(method.soft_tokens)
    for beams in (1, 3):
        calls.clear()
        new_tokens(backbone, rows, beams, NEVER)
        assert calls == [len(rows)] * places


def cache_holds_text_and_soft_tokens(subject: Subject) -> None:
    """T + P entries in blocks with soft tokens, one more for each new token; positions agree."""
    backbone, rows = subject.backbone, subject.instructions()
    method = subject.attach()
    ids, mask = padded(rows)
    with torch.no_grad():
        logits, state = backbone.prefill(ids, mask)
        soft = state.widths
        assert max(soft) == method.soft_tokens
        for new in range(3):
            sizes = [keys.any(-1).any(1).sum(1).tolist() for keys in state.keys]  # columns in use
            assert sizes == [[ids.shape[1] + new + p] * len(rows) for p in soft]
            assert state.lengths.tolist() == [len(row) + new for row in rows]
            logits = backbone.step(torch.tensor([5, 6, 7, 8]) + new, state)
    for row, text in enumerate(rows):
        full = torch.tensor([[*text, *(5 + row + new for new in range(3))]])
        seen = torch.arange(full.shape[1])[None] < len(text)
        with torch.no_grad():
            assert gap(backbone(full, None, seen)[0, -1], logits[row]) < ATOL


def leaves_no_state(subject: Subject) -> None:
    """Decoding twice agrees, also after a failure in the middle of a pass."""
    backbone, rows = subject.backbone, subject.instructions()
    subject.attach()
    text = whole(subject.texts)
    first, logits = new_tokens(backbone, rows, 3, NEVER), text.logits(backbone)
    block = backbone.family.block

    def fails(layer: int, *args: Any) -> Tensor:
        if layer == 2:
            raise KeyboardInterrupt
        return block(layer, *args)

    for interrupted in (
        lambda: text.logits(backbone),
        lambda: new_tokens(backbone, rows, 3, NEVER),
    ):
        try:
            with patch.object(backbone.family, "block", fails):
                interrupted()
        except KeyboardInterrupt:
            pass
    assert torch.equal(text.logits(backbone), logits)
    assert new_tokens(backbone, rows, 3, NEVER) == first


CHECKS = (
    greedy_is_argmax_of_forward,
    beams_need_no_cache,
    decoding_is_literal,
    batch_equals_alone,
    prompts_are_made_once,
    cache_holds_text_and_soft_tokens,
    leaves_no_state,
)
