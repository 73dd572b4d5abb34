"""The columns of a running batch: which exist in a row, in what order, and which see which.

Columns are stored as [prefix | soft tokens | text].  A prefix consists of keys and values of one block
only; soft tokens are part of the residual stream.  Each column has a number, its place in the order of
its row's tokens.  Attention goes by places, so a soft token is stored before the text even if it
follows BOS.  Rows of a batch may have different soft columns: `present` says which.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values that only one block sees, in front of its stream.

    Attributes:
        keys: (B, H_kv, P, K).
        values: (B, H_kv, P, K).
        present: (B, P), the columns that each row has; None if every row has all.
        hidden: whether they are hidden from the first text token; for all rows, or (B, 1).
    """

    keys: Tensor
    values: Tensor
    present: Tensor | None = None
    hidden: Tensor | bool = False

    @property
    def size(self) -> int:
        """The number of columns, P."""
        return self.keys.shape[-2]


@dataclass(frozen=True, eq=False)
class Stream:
    """The columns of the residual stream (B, S, D) in one block.

    Attributes:
        seen: (B, S), the columns that exist in a row (neither padding nor other rows' soft tokens).
        place: (1 or B, S), the place of each column in its row's order.
        kept: the number of soft tokens, which are the first columns.
        in_order: whether columns are stored in their order, and every row has all soft tokens.
    """

    seen: Tensor
    place: Tensor
    kept: int = 0
    in_order: bool = True

    @classmethod
    def of_text(cls, mask: Tensor) -> "Stream":
        """Return the stream of right-padded text with this mask (B, T), without soft tokens."""
        return cls(mask, torch.arange(mask.shape[1], device=mask.device)[None])

    def text(self, h: Tensor) -> Tensor:
        """The text part (B, T, D) of h (B, S, D)."""
        return h[:, self.kept :]

    def insert(
        self, h: Tensor, soft: Tensor, behind: int, present: Tensor | None = None
    ) -> tuple[Tensor, "Stream"]:
        """Insert soft tokens (B,P,D) into h (B,S,D) after `behind` text tokens; `present` is (B,P)."""
        size, kept = soft.shape[1], self.kept
        count = size if present is None else present.sum(1, keepdim=True)
        text = self.place[:, kept:]
        text = text + count * (text >= behind)
        new = (behind + torch.arange(size, device=h.device)).expand(len(text), -1)
        old = self.place[:, :kept].expand(len(text), -1)
        there = self.seen.new_ones(len(h), size) if present is None else present
        return torch.cat([h[:, :kept], soft, h[:, kept:]], dim=1), Stream(
            torch.cat([self.seen[:, :kept], there, self.seen[:, kept:]], dim=1),
            torch.cat([old, new, text], dim=1),
            kept + size,
            self.in_order and behind == 0 and present is None,
        )

    def plainly_causal(self, prefix: Prefix | None) -> bool:
        """Return whether no mask is needed: real tokens see all columns stored before them; padding is last."""
        if prefix is None:
            return self.in_order
        same = prefix.present is None and isinstance(prefix.hidden, bool)
        return self.in_order and same and not (prefix.hidden and self.kept)

    def positions(self, prefix: Prefix | None) -> Tensor:
        """Return the rotary positions (1 or B, S) of the columns after a prefix."""
        if prefix is None:
            return self.place
        present = prefix.present
        return self.place + (prefix.size if present is None else present.sum(1, keepdim=True))

    def soft_columns(self, prefix: Prefix | None) -> Tensor | None:
        """Return which prefix and soft columns (B, P + kept) each row has; None if every row has all."""
        present = None if prefix is None else prefix.present
        if present is None and bool(self.seen[:, : self.kept].all()):
            return None
        front = self._front(prefix)
        return torch.cat([front, self.seen[:, : self.kept]], dim=1)

    def attention(self, h: Tensor, prefix: Prefix | None) -> Tensor:
        """Return the additive mask (B, 1, S, P + S): a column sees existing ones up to its place, and the prefix."""
        earlier = self.place[:, None, :] <= self.place[:, :, None]
        allowed = earlier & self.seen[:, None]  # (B, S, S)
        front = self._front(prefix)[:, None].repeat(1, allowed.shape[1], 1)
        if prefix is not None and prefix.hidden is not False:
            front[:, self.kept] &= ~torch.as_tensor(prefix.hidden, device=h.device)
        return additive(torch.cat([front, allowed], dim=2)[:, None], h.dtype)

    def _front(self, prefix: Prefix | None) -> Tensor:
        if prefix is not None and prefix.present is not None:
            return prefix.present
        return self.seen.new_ones(len(self.seen), 0 if prefix is None else prefix.size)


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 0 where attention is allowed, and the smallest finite number elsewhere."""
    # Not -inf: a row of pads that sees nothing must stay finite.
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
        ~allowed, torch.finfo(dtype).min
    )
