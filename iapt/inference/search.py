"""Greedy and beam search, by the rules of transformers' `generate` (its defaults), token for token.

The score of a finished answer is its summed log-probability over its length.  Of the 2 n best
continuations of a row, those that end count as answers only among the first n; a row is settled once
it has n answers and its best running sum, over the present length, cannot beat the worst of them.

What `generate` does not do: a row that is settled leaves the batch, and neither sequences nor
log-probabilities of the whole vocabulary are copied around.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NOTHING = -1.0e9  # a score that no answer has
SHRINK = 0.75  # drop settled rows when no more than this share of the batch is left


class Steps(Protocol):
    """A model that continues from what it has read, for B rows with n beams each."""

    def step(self, tokens: Tensor) -> Tensor:
        """Feed a token per beam (B * n,); return next-token logits (B * n, V)."""

    def reorder(self, beams: Tensor) -> None:
        """Let beam j of a row continue from its beam beams[row, j]; (B, n)."""

    def keep(self, rows: Tensor) -> None:
        """Continue with these rows only."""


@dataclass(frozen=True)
class Rules:
    """When answers end.

    Attributes:
        num_beams: n; 1 is greedy search.
        max_new_tokens: longest answer, end token included.
        eos_token_id: ends an answer.
        pad_token_id: fills the places after it.
        min_new_tokens: the end token is suppressed before this length.
    """

    num_beams: int
    max_new_tokens: int
    eos_token_id: int
    pad_token_id: int
    min_new_tokens: int = 0

    def hold_back(self, scores: Tensor, length: int) -> Tensor:
        """Suppress the end token for answers that would have this length."""
        if length <= self.min_new_tokens and self.eos_token_id < scores.shape[-1]:
            scores[..., self.eos_token_id] = -torch.inf
        return scores


def search(logits: Tensor, model: Steps, rules: Rules) -> Tensor:
    """Search answers of B rows.

    Args:
        logits: (B, V), of the first new token.
        model: continues from there.
        rules: beams and lengths.

    Returns:
        (B, N) new tokens, N the longest answer's length.
    """
    found = greedy if rules.num_beams == 1 else beams
    answers, lengths = found(logits.float(), model, rules)
    return answers[:, : int(lengths.max())]


def greedy(logits: Tensor, model: Steps, rules: Rules) -> tuple[Tensor, Tensor]:
    """Answers (B, max_new_tokens) and their lengths (B,): the best token each time."""
    answers, lengths = _empty(logits, rules)
    rows = torch.arange(len(logits), device=logits.device)  # what the model's rows are in the batch
    open_ = torch.ones_like(rows, dtype=torch.bool)
    for length in range(1, rules.max_new_tokens + 1):
        tokens = rules.hold_back(logits, length).argmax(-1)
        answers[rows, length - 1] = torch.where(open_, tokens, rules.pad_token_id)
        lengths[rows] += open_
        open_ &= tokens != rules.eos_token_id
        left = _left(open_)
        if length == rules.max_new_tokens or not len(left):
            break
        if len(left) < len(rows):
            rows, open_, tokens = rows[left], open_[left], tokens[left]
            model.keep(left)
        logits = model.step(tokens).float()
    return answers, lengths


def beams(logits: Tensor, model: Steps, rules: Rules) -> tuple[Tensor, Tensor]:
    """Answers (B, max_new_tokens) and their lengths (B,): the best finished beam."""
    n, most = rules.num_beams, rules.max_new_tokens
    answers, lengths = _empty(logits, rules)
    rows = torch.arange(len(logits), device=logits.device)
    running = answers[:, None].repeat(1, n, 1)  # (B, n, most)
    finished, finished_lengths = running.clone(), lengths[:, None].repeat(1, n)
    finished_scores = logits.new_full((len(rows), n), NOTHING)
    ended = torch.zeros_like(finished_scores, dtype=torch.bool)
    open_ = torch.ones_like(rows, dtype=torch.bool)
    # At first there is one beam, unless it has too few continuations to choose from.
    start = 1 if 2 * n <= logits.shape[-1] else n
    scores = logits.new_full((len(rows), start), NOTHING)
    scores[:, 0] = 0
    logits = logits.repeat_interleave(start, 0)
    for length in range(1, most + 1):
        # The 2 n best of a row are among the 2 n best of each of its beams.
        log_probs = rules.hold_back(logits.log_softmax(-1), length)
        best, tokens = log_probs.topk(min(2 * n, log_probs.shape[-1]))
        best = best.view(len(rows), scores.shape[1], -1) + scores[..., None]
        best, index = best.flatten(1).topk(2 * n)
        origin = index // tokens.shape[-1]  # which beam it continues
        tokens = tokens.view(len(rows), -1).gather(1, index)
        texts = _pick(running, origin)
        texts[:, :, length - 1] = tokens
        ends = (tokens == rules.eos_token_id) | (length == most)

        # Answers: of the first n only, and never of a row that is settled.
        new = ends[:, :n] & open_[:, None]
        new_scores = torch.where(new, best[:, :n] / length, NOTHING)
        finished_scores, order = torch.cat([finished_scores, new_scores], 1).topk(n)
        finished = _pick(torch.cat([finished, texts[:, :n]], 1), order)
        grown = torch.full_like(order, length)
        finished_lengths = torch.cat([finished_lengths, grown], 1).gather(1, order)
        ended = torch.cat([ended, new], 1).gather(1, order)

        scores, order = (best + ends * NOTHING).topk(n)
        running, tokens = _pick(texts, order), tokens.gather(1, order)
        origin = origin.gather(1, order)
        hopeless = scores[:, 0] / length <= finished_scores[:, -1]
        open_ = open_ & ~(ended.all(1) & hopeless)
        left = _left(open_)
        answers[rows], lengths[rows] = finished[:, 0], finished_lengths[:, 0]
        if length == most or not len(left):
            break
        model.reorder(origin)
        if len(left) < len(rows):
            model.keep(left)
            rows, running, tokens, scores = (t[left] for t in (rows, running, tokens, scores))
            finished, finished_lengths = finished[left], finished_lengths[left]
            finished_scores, ended, open_ = finished_scores[left], ended[left], open_[left]
        logits = model.step(tokens.flatten()).float()
    return answers, lengths


def _empty(logits: Tensor, rules: Rules) -> tuple[Tensor, Tensor]:
    shape = (len(logits), rules.max_new_tokens)
    answers = torch.full(shape, rules.pad_token_id, device=logits.device)
    return answers, torch.zeros(len(logits), dtype=torch.long, device=logits.device)


def _left(open_: Tensor) -> Tensor:
    """Indices of the rows to continue with: all, until enough are settled that dropping them pays."""
    left = open_.nonzero()[:, 0]
    few = len(left) <= SHRINK * len(open_)
    return left if few or not len(left) else torch.arange(len(open_), device=open_.device)


def _pick(texts: Tensor, index: Tensor) -> Tensor:
    """Take texts (B, n, T) at index (B, m) of its second dimension -> (B, m, T)."""
    return texts.gather(1, index[:, :, None].expand(-1, -1, texts.shape[2]))
