"""Mixed batches: row i of a batch is served by method i, or by none, exactly as if it ran alone.

Every method is attached to a seat of its own, which takes down what the method wants done.  Running
a batch, each verb is carried out for the rows of the method that asked for it and for no others:
functions of a row's tensors get just these rows, soft tokens and prefixes become columns that only
these rows have.  Nothing here knows methods; whatever acts through the verbs can be mixed.

    shared = SharedBackbone(backbone)
    shared.add("a", method_a)
    shared.add("b", method_b)
    with shared.rows(["a", None, "b", "a"]):
        decode_batch(shared, input_ids, attention_mask, ...)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone, PairFn
from iapt.backbone.cache import State
from iapt.backbone.stream import Prefix, Stream
from iapt.errors import AdapterError, closest

Key = tuple[str, int, str]  # ("linear", layer, site) or ("sublayer", layer, part)


class Attachable(Protocol):
    """A method, as far as this file is concerned."""

    def attach(self, backbone: Backbone) -> None:
        """Wire the method into a backbone."""


class Seat(Backbone):
    """The actions that one method has registered."""

    def __init__(self, tenants: "SharedBackbone") -> None:
        self._tenants = tenants
        self.actions: dict[Key, list[PairFn]] = {}
        super().__init__(tenants.family)

    def on_linear(self, layer: int, site: str, fn: PairFn) -> None:
        """Record an action on a projection."""
        self.family.site(layer, site)  # an unknown site is refused here
        self.actions.setdefault(("linear", layer, site), []).append(fn)

    def on_sublayer(self, layer: int, part: str, fn: PairFn) -> None:
        """Record an action on "attn" or "ffn"."""
        self.actions.setdefault(("sublayer", layer, part), []).append(fn)

    def _act(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self._tenants._act(module, x, y)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Run the bare model inside the block."""
        with super().disabled(), self._tenants.disabled():
            yield

    def idle(self) -> bool:
        """Say whether the method has registered nothing."""
        verbs = (self.actions, *self._block_fns, *self._prompts)
        return not any(verbs) and all(fn is None for fn in self._prefixes)


Group = tuple[Seat, Tensor | None]  # a seat and its rows' indices; None stands for all rows


class Rows:
    """Which rows of a batch belong to which seat.

    Attributes:
        owners: (B,), index of the seat, -1 for the bare model.
        seats: all of them.
        groups: those that occur.
    """

    def __init__(self, owners: Tensor, seats: Sequence[Seat]) -> None:
        self.owners, self.seats = owners, seats
        self.groups: list[Group] = []
        self._patterns: dict[Any, Tensor] = {}
        for i in owners.unique().tolist():
            mine = owners == i
            if i >= 0:
                self.groups.append((seats[i], None if bool(mine.all()) else mine.nonzero()[:, 0]))

    def take(self, index: Tensor) -> "Rows":
        """These rows, in this order."""
        owners = self.owners.index_select(0, index)
        return self if torch.equal(owners, self.owners) else Rows(owners, self.seats)

    def columns(self, parts: Sequence[tuple[Group, Tensor]]) -> tuple[Tensor, Tensor]:
        """Put each group's part (b, P_i, ...) into its rows of one tensor (B, max P_i, ...).

        Returns:
            The tensor, and which columns a row has, (B, max P_i).
        """
        width = max(part.shape[1] for _, part in parts)
        whole = parts[0][1].new_zeros(len(self.owners), width, *parts[0][1].shape[2:])
        for (_, rows), part in parts:
            whole[rows, : part.shape[1]] = part
        return whole, self.pattern([(group, part.shape[1]) for group, part in parts], width)

    def pattern(self, parts: Sequence[tuple[Group, int]], width: int) -> Tensor:
        """Bool (B, width), true in each group's first columns; equal calls return one and the same object."""
        key = (width, *((id(seat), size) for (seat, _), size in parts))
        if key not in self._patterns:  # attention masks are made once per object
            made = torch.zeros(len(self.owners), width, dtype=torch.bool, device=self.owners.device)
            for (_, rows), size in parts:
                made[rows, :size] = True
            self._patterns[key] = made
        return self._patterns[key]


class SharedBackbone(Backbone):
    """A bare backbone that serves several methods in one batch.

    Args:
        backbone: bare; its weights are shared, and it must not run with a method of its own meanwhile.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._seats: dict[str, Seat] = {}
        self._rows: Rows | None = None
        self._hooked: set[Key] = set()
        super().__init__(backbone.family)

    def add(self, name: str, method: Attachable) -> None:
        """Give a method a name.

        Raises:
            AdapterError: the name is taken, or the method acts through no verb (a merged one, say).
        """
        if name in self._seats:
            raise AdapterError(f"tenant {name!r} is there already; choose another name.")
        seat = Seat(self)
        method.attach(seat)
        if seat.idle():
            raise AdapterError(
                f"tenant {name!r}: {type(method).__name__} acts through none of the backbone's verbs, so its rows "
                "cannot be told from the others'."
            )
        self._seats[name] = seat
        for key in seat.actions:
            if key not in self._hooked:
                self._hooked.add(key)
                kind, layer, place = key
                verb = super().on_linear if kind == "linear" else super().on_sublayer
                verb(layer, place, partial(self._carry_out, partial(_actions, key)))
        for own, theirs in zip(self._prompts, seat._prompts, strict=True):
            own.extend(theirs)  # so that the checks of a batch know of them

    @contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator["SharedBackbone"]:
        """Serve row i of every batch with tenant names[i] inside the block; None is the bare model.

        Backward passes belong inside as well if gradient checkpointing is on.

        Raises:
            AdapterError: a name is unknown; all known ones are listed.
        """
        known = list(self._seats)
        for name in names:
            if name is not None and name not in self._seats:
                raise AdapterError(
                    f"tenant {name!r} is unknown; there are {', '.join(known) or 'none'}, and None for the bare model."
                    f"{closest(name, known)}"
                )
        owners = [-1 if name is None else known.index(name) for name in names]
        rows = Rows(torch.tensor(owners, device=self.device), list(self._seats.values()))
        with self._serving(rows):
            yield self

    def detach(self) -> None:
        """Remove every method."""
        super().detach()
        self._seats, self._hooked = {}, set()

    def on_linear(self, layer: int, site: str, fn: PairFn) -> None:
        """Refused: methods are added by name."""
        raise AdapterError("methods are attached to tenants by name: tenants.add(name, method).")

    on_sublayer = on_block = soft_prompt = kv_prefix = on_linear  # type: ignore[assignment]

    def prefill(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        beams: int = 1,
        room: int = 16,
    ) -> tuple[Tensor, State]:
        """As in Backbone; the state remembers whose rows these are."""
        logits, state = super().prefill(input_ids, attention_mask, beams=beams, room=room)
        if self._rows is not None:
            each = torch.arange(len(logits), device=logits.device)
            state.rows = self._rows.take(each.repeat_interleave(beams))
        return logits, state

    def step(self, tokens: Tensor, state: State) -> Tensor:
        """As in Backbone, for the rows of the state."""
        with self._serving(state.rows):
            return super().step(tokens, state)

    # ---------------------------------------------------------------- inside

    @contextmanager
    def _serving(self, rows: "Rows | None") -> Iterator[None]:
        before, self._rows = self._rows, rows
        try:
            yield
        finally:
            self._rows = before

    def _groups(self) -> list[Group]:
        return [] if self._off or self._rows is None else self._rows.groups

    def _run(self, ids: Tensor, mask: Tensor, instruction: Tensor, state: State | None) -> Tensor:
        named = 0 if self._rows is None else len(self._rows.owners)
        if named != len(ids):
            raise AdapterError(
                f"the batch has {len(ids)} rows, but tenants are named for {named}: `with tenants.rows([...])`."
            )
        return super()._run(ids, mask, instruction, state)

    def _carry_out(
        self, actions: Callable[[Seat], list[PairFn] | None], x: Tensor, y: Tensor
    ) -> Tensor:
        """Carry out every seat's functions (x, y) -> y on its rows."""
        out = y
        for seat, rows in self._groups():
            mine = actions(seat)
            if mine:
                part, given = _take(y, rows), _take(x, rows)
                for fn in mine:
                    part = fn(given, part)
                if rows is None:
                    return part
                out = y.clone() if out is y else out
                out[rows] = part
        return out

    def _beside(self, layer: int, h: Tensor, out: Tensor) -> Tensor:
        return self._carry_out(lambda seat: seat._block_fns[layer], h, out)

    def _grow(
        self, layer: int, h: Tensor, stream: Stream, instruction: Tensor
    ) -> tuple[Tensor, Stream]:
        new: dict[bool, list[tuple[Group, Tensor]]] = {False: [], True: []}
        text = stream.text(h)
        for group in self._groups():
            seat, rows = group
            with self._alone(seat):
                if rows is None:
                    return seat._grow(layer, h, stream, instruction)
                for prompt in seat._prompts[layer]:
                    if not prompt.keep:
                        continue
                    soft = prompt.fn(text[rows], instruction[rows]).to(h.dtype)
                    if prompt.add:
                        mine = stream.seen[rows[0], : stream.kept].nonzero()[:, 0]
                        h = h.index_put((rows[:, None], mine[None]), soft, accumulate=True)
                    else:
                        new[prompt.after_first].append((group, soft))
        for after_first, parts in new.items():
            if parts:
                assert self._rows is not None
                soft, present = self._rows.columns(parts)
                h, stream = stream.insert(h, soft, int(after_first), present)
        return h, stream

    def _prefix(self, layer: int, text: Tensor, instruction: Tensor) -> Prefix | None:
        found: list[tuple[Group, Prefix]] = []
        for group in self._groups():
            seat, rows = group
            with self._alone(seat):
                prefix = seat._prefix(layer, _take(text, rows), _take(instruction, rows))
            if rows is None:
                return prefix
            if prefix:
                found.append((group, prefix))
        if not found:
            return None
        assert self._rows is not None
        keys, present = self._rows.columns([(g, p.keys.transpose(1, 2)) for g, p in found])
        values, _ = self._rows.columns([(g, p.values.transpose(1, 2)) for g, p in found])
        hidden = self._rows.pattern([(g, 1) for g, p in found if p.hidden], 1)
        return Prefix(keys.transpose(1, 2), values.transpose(1, 2), present, hidden)

    @contextmanager
    def _alone(self, seat: Seat) -> Iterator[None]:
        """Inside, tensors hold rows of this seat only."""
        rows = Rows(torch.tensor([], dtype=torch.long), [])
        rows.groups = [(seat, None)]
        with self._serving(rows):
            yield


def _actions(key: Key, seat: Seat) -> list[PairFn] | None:
    return seat.actions.get(key)


def _take(t: Tensor, rows: Tensor | None) -> Tensor:
    return t if rows is None else t[rows]
