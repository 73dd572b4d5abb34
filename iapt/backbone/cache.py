"""The state of decoding: keys and values that beams share and that never move.

A block's columns are [prefix | soft tokens | text | generated], allocated in advance.  The beams of a
row share the first three kinds.  Generated columns form a tree: every step adds one column per beam,
and `own` says which columns a beam descends from, so that reordering beams moves a few bools instead
of the keys and values of every block.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.attention import merge_heads
from iapt.backbone.stream import additive
from iapt.errors import BackboneError


@dataclass
class State:
    """The decoding state of B rows with n beams each; a step feeds R = B * n tokens, beams adjacent.

    Attributes:
        mask: (B, T), real tokens of the instructions.
        lengths: (B,), text tokens so far, generated ones included.
        beams: n.
        room: generated tokens that columns are allocated for; doubled when it is used up.
        fed: generated tokens so far.
        keys: per block (B, G, soft + T + n * room, K).
        values: likewise.
        widths: per block, the number of its prefix and soft columns.
        soft: per block, which of these each row has, (B, width); None if every row has all.
        own: (B, n, n * room), which generated columns each beam sees.
        rows: which method serves which rows in a mixed batch (`tenants.py`), else None.
    """

    mask: Tensor
    lengths: Tensor
    beams: int
    room: int
    fed: int = 0
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    soft: list[Tensor | None] = field(default_factory=list)
    rows: Any = None

    def __post_init__(self) -> None:
        self.own = self.mask.new_zeros(len(self.mask), self.beams, self.beams * self.room)
        self._sights: dict[tuple[int, int], Tensor] = {}

    # ---------------------------------------------------------------- filling

    def store(self, keys: Tensor, values: Tensor, soft: Tensor | None) -> None:
        """Store the prefill's keys and values (B, G, soft + T, K) of the next block."""
        self.widths.append(keys.shape[2] - self.mask.shape[1])
        self.soft.append(soft)
        self.keys.append(_longer(keys, self.beams * self.room))
        self.values.append(_longer(values, self.beams * self.room))

    def advance(self) -> None:
        """Begin a step: every beam gets a new column."""
        if self.fed == self.room:
            more = self.beams * self.room
            self.own = torch.cat([self.own, torch.zeros_like(self.own)], dim=-1)
            self.keys = [_longer(t, more) for t in self.keys]
            self.values = [_longer(t, more) for t in self.values]
            self.room *= 2
        n = self.beams
        new = slice(self.fed * n, self.fed * n + n)
        self.own[:, :, new] = torch.eye(n, dtype=torch.bool, device=self.own.device)
        self.fed += 1
        self._sights.clear()

    # ---------------------------------------------------------------- reading

    def positions(self, layer: int) -> Tensor:
        """Return the rotary positions (R, 1) of this step's tokens in a block."""
        soft = self.soft[layer]
        place = self.lengths + (self.widths[layer] if soft is None else soft.sum(1))
        return place.repeat_interleave(self.beams)[:, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Store k and v (R,G,1,K), and attend with one token per beam: q (R,H,1,K) -> (R,1,H*K)."""
        n, (groups, _, size) = self.beams, k.shape[1:]
        keys, values = self._extended(
            layer, *(t.view(-1, n, groups, size).transpose(1, 2) for t in (k, v))
        )
        # A row's beams, and the heads that share a key/value head, become queries of one head.
        heads = q.view(-1, n, groups, q.shape[1] // groups, size).transpose(1, 2)
        out = torch.nn.functional.scaled_dot_product_attention(
            heads.flatten(2, 3),
            keys,
            values,
            attn_mask=self._sight(layer, heads.shape[3], q.dtype),
            scale=scale,
        )
        out = out.unflatten(2, (n, -1)).transpose(1, 2)  # (B, n, G, H/G, K)
        return merge_heads(out.reshape(len(q), -1, 1, size))

    def _extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store this step's k and v (B, G, n, K); return all columns up to them."""
        end = self.widths[layer] + self.mask.shape[1] + self.fed * self.beams
        keys, values = self.keys[layer][:, :, :end], self.values[layer][:, :, :end]
        keys[:, :, end - self.beams :], values[:, :, end - self.beams :] = k, v
        return keys, values

    def _tree(self) -> Tensor:
        """Return which of the generated columns in `_extended` each beam sees, (B, n, columns)."""
        return self.own[:, :, : self.fed * self.beams]

    def _sight(self, layer: int, times: int, dtype: torch.dtype) -> Tensor:
        """Return the additive mask (B, 1, n * times, columns)."""
        soft = self.soft[layer]
        key = (self.widths[layer], id(soft))  # blocks with the same columns share one mask
        if key not in self._sights:
            if soft is None:
                soft = self.mask.new_ones(len(self.mask), self.widths[layer])
            front = torch.cat([soft, self.mask], dim=1)[:, None].expand(-1, self.beams, -1)
            seen = torch.cat([front, self._tree()], dim=2)
            self._sights[key] = additive(seen.repeat_interleave(times, 1)[:, None], dtype)
        return self._sights[key]

    # ---------------------------------------------------------------- choosing

    def reorder(self, beams: Tensor) -> None:
        """Let beam j of each row continue from that row's beam `beams[row, j]`; `beams` is (B, n)."""
        self.own.copy_(self.own.gather(1, beams[:, :, None].expand_as(self.own)))

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows."""
        self.mask, self.lengths = self.mask[rows], self.lengths[rows]
        self.own = self.own[rows]
        self.keys = [t[rows] for t in self.keys]
        self.values = [t[rows] for t in self.values]
        # Blocks share these tensors and must go on sharing them: masks are made once per tensor.
        kept = {id(t): t[rows] for t in self.soft if t is not None}
        self.soft = [t if t is None else kept[id(t)] for t in self.soft]
        if self.rows is not None:
            self.rows = self.rows.take(rows)


@dataclass
class FixedState(State):
    """A state whose steps all have the same shapes and addresses, so that a step can be recorded.

    A step reads all allocated columns; which of them exist is a tensor's value.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._new = torch.arange(self.beams, device=self.mask.device) - self.beams

    def advance(self) -> None:
        """Begin a step: every beam gets a new column.

        Raises:
            BackboneError: the room is used up.
        """
        self.count()
        self._new.add_(self.beams)
        one = torch.eye(self.beams, dtype=torch.bool, device=self.own.device)
        self.own.index_copy_(2, self._new, one.expand(len(self.own), -1, -1))
        self._sights.clear()

    def count(self) -> None:
        """Count a step: the part of it that replaying a recorded step does not do.

        Raises:
            BackboneError: the room is used up.
        """
        if self.fed == self.room:
            raise BackboneError(f"decoding has room for {self.room} tokens; reserve more.")
        self.fed += 1

    def _extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        where = self._new + self.widths[layer] + self.mask.shape[1]
        keys, values = self.keys[layer], self.values[layer]
        return keys.index_copy_(2, where, k), values.index_copy_(2, where, v)

    def _tree(self) -> Tensor:
        return self.own


def _longer(t: Tensor, columns: int) -> Tensor:
    """Append columns to (B, G, C, K): zeros, because even columns that are never seen must be finite."""
    return torch.cat([t, t.new_zeros(*t.shape[:2], columns, t.shape[3])], dim=2)
