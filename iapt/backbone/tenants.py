"""Mixed batches: each row of a batch is served by its own method, or by none, as if it ran alone.

Every method is attached to a seat of its own, which records the verbs that it calls.  In a batch, each
verb is carried out for the rows of the method that called it and for no others: functions get the
tensors of just these rows, and soft tokens and prefixes become columns that only these rows have.
Nothing here knows particular methods; whatever acts through the verbs can be mixed.

Methods of one form are stacked if they define how (`Stackable`): one method, with parameters for each row,
serves all their rows at once.  It is made once per batch from the batch's rows, so its cost does not
depend on the number of tenants, and it is dropped after the prefill unless it acts in decoding steps.
Other methods, and those whose form no other row shares, serve their rows one after another.

    shared = SharedBackbone(backbone)
    shared.add("a", method_a)
    shared.add("b", method_b)
    with shared.rows(["a", None, "b", "a"]):
        decode_batch(shared, input_ids, attention_mask, ...)
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from iapt.backbone.base import Backbone, PairFn
from iapt.backbone.cache import State
from iapt.backbone.dims import PARTS
from iapt.backbone.rows import Group, Rows
from iapt.backbone.stream import Prefix, Stream
from iapt.errors import AdapterError, closest

Key = tuple[str, int, str]  # ("linear", layer, site) or ("sublayer", layer, part)


class Attachable(Protocol):
    """What this file needs to know of a method."""

    def attach(self, backbone: Backbone) -> None:
        """Wire the method into a backbone."""


@runtime_checkable
class Stackable(Protocol):
    """A method that can be batched with others like it, one set of parameters per row."""

    def form(self) -> Hashable:
        """Return what methods must have in common to be stacked; None if this one cannot be."""

    def stacked(self, rows: Sequence[Any]) -> Attachable:
        """Return the method that serves row i of a batch as `rows[i]` does."""


class Seat(Backbone):
    """The actions that one method has registered.

    Attributes:
        method: the method.
        form: what methods stacked with it must share; None if it cannot be stacked.
    """

    def __init__(self, tenants: "SharedBackbone", method: Attachable) -> None:
        self._tenants, self.method = tenants, method
        self.actions: dict[Key, list[PairFn]] = {}
        training = tenants.model.training
        super().__init__(tenants.family)
        tenants.model.train(training)  # undoes the eval() of the line above
        method.attach(self)
        self.form = method.form() if isinstance(method, Stackable) else None

    def on_linear(self, layer: int, site: str, fn: PairFn) -> None:
        """Record an action on a projection."""
        self.dims.check_place(layer, site, self.dims.outputs)
        self.actions.setdefault(("linear", layer, site), []).append(fn)

    def on_sublayer(self, layer: int, part: str, fn: PairFn) -> None:
        """Record an action on "attn" or "ffn"."""
        self.dims.check_place(layer, part, PARTS)
        self.actions.setdefault(("sublayer", layer, part), []).append(fn)

    def _act(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self._tenants._act(module, x, y)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Run the bare model inside the block."""
        with super().disabled(), self._tenants.disabled():
            yield

    @property
    def steps(self) -> bool:
        """Whether the method does anything in a decoding step; prompts and prefixes are in the cache by then."""
        return bool(self.actions) or any(self._block_fns)

    def idle(self) -> bool:
        """Return whether the method has registered nothing."""
        return not self.actions and super().idle()


class SharedBackbone(Backbone):
    """A bare backbone that serves several methods in one batch.

    Args:
        backbone: a bare backbone, whose weights are shared; nothing may be attached to it meanwhile.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._seats: dict[str, Seat] = {}
        self._rows: Rows[Seat] | None = None
        self._hooked: set[Key] = set()
        super().__init__(backbone.family)

    def add(self, name: str, method: Attachable) -> None:
        """Add a method as the tenant of this name.

        Raises:
            AdapterError: the name is taken, or the method acts through no verb (a merged one, say).
        """
        if name in self._seats:
            raise AdapterError(f"tenant {name!r} already exists; choose another name.")
        seat = Seat(self, method)
        if seat.idle():
            raise AdapterError(
                f"tenant {name!r}: {type(method).__name__} acts through none of the backbone's verbs, so its rows "
                "cannot be told apart from the others."
            )
        self._seats[name] = seat
        for key in seat.actions:
            if key not in self._hooked:
                self._hooked.add(key)
                kind, layer, place = key
                verb = super().on_linear if kind == "linear" else super().on_sublayer
                verb(layer, place, partial(self._carry_out, partial(_actions, key)))
        for own, theirs in zip(self._prompts, seat._prompts, strict=True):
            own.extend(theirs)  # the checks of a batch look here

    @contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator["SharedBackbone"]:
        """Serve row i of every batch with tenant names[i] inside the block; None is the bare model.

        With gradient checkpointing, backward passes belong inside as well.

        Raises:
            AdapterError: a name is unknown; the message lists the known ones.
        """
        known = list(self._seats)
        for name in names:
            if name is not None and name not in self._seats:
                raise AdapterError(
                    f"tenant {name!r} is unknown; there are {', '.join(known) or 'none'}, and None for the bare model."
                    f"{closest(name, known)}"
                )
        owners = [-1 if name is None else known.index(name) for name in names]
        rows = Rows(owners, list(self._seats.values()), self._stack, self.device)
        with self._serving(rows):
            yield self

    def detach(self) -> None:
        """Remove every method."""
        super().detach()
        self._seats, self._hooked = {}, set()

    def on_linear(self, layer: int, site: str, fn: PairFn) -> None:
        """Refuse: methods are added by name."""
        raise AdapterError("methods are attached to tenants by name: tenants.add(name, method).")

    on_sublayer = on_block = soft_prompt = kv_prefix = on_linear  # type: ignore[assignment]

    def prefill(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        beams: int = 1,
        room: int = 16,
        fixed: bool = False,
    ) -> tuple[Tensor, State]:
        """As in `Backbone`; the state also records which tenants serve its rows."""
        logits, state = super().prefill(
            input_ids, attention_mask, beams=beams, room=room, fixed=fixed
        )
        if self._rows is not None:
            state.rows = self._rows.stepping()
            self._rows.forget()
        return logits, state

    def step(self, tokens: Tensor, state: State) -> Tensor:
        """As in `Backbone`, with the tenants of the state."""
        with self._serving(state.rows):
            return super().step(tokens, state)

    # ---------------------------------------------------------------- inside

    @contextmanager
    def _serving(self, rows: "Rows[Seat] | None") -> Iterator[None]:
        before, self._rows = self._rows, rows
        try:
            yield
        finally:
            self._rows = before

    def _groups(self) -> list[Group[Seat]]:
        return [] if self._off or self._rows is None else self._rows.groups

    def _run(self, ids: Tensor, mask: Tensor, instruction: Tensor, state: State | None) -> Tensor:
        named = 0 if self._rows is None else len(self._rows.owners)
        if named != len(ids):
            raise AdapterError(
                f"the batch has {len(ids)} rows, but tenants are named for {named}: `with tenants.rows([...])`."
            )
        if self._rows is not None:
            self._rows.forget()  # parameters may have changed since
        return super()._run(ids, mask, instruction, state)

    def _carry_out(
        self, actions: Callable[[Seat], list[PairFn] | None], x: Tensor, y: Tensor
    ) -> Tensor:
        """Apply every seat's functions (x, y) -> y to its rows.

        The beams of a row are adjacent, (B * beams, 1, ...), and are passed as its tokens, (B, beams, ...).
        """
        groups, shape = self._groups(), y.shape
        if groups and self._rows and self._rows.owners:
            x, y = (t.reshape(len(self._rows.owners), -1, t.shape[-1]) for t in (x, y))
        out = y
        for seat, rows in groups:
            mine = actions(seat)
            if mine:
                part, given = _take(y, rows), _take(x, rows)
                for fn in mine:
                    part = fn(given, part).to(y.dtype)
                if rows is None:
                    out = part
                    break
                out = y.clone() if out is y else out
                out[rows] = part
        return out.reshape(shape)

    def _beside(self, layer: int, h: Tensor, out: Tensor) -> Tensor:
        return self._carry_out(lambda seat: seat._block_fns[layer], h, out)

    def _grow(
        self, layer: int, h: Tensor, stream: Stream, instruction: Tensor
    ) -> tuple[Tensor, Stream]:
        new: dict[bool, list[tuple[Group[Seat], Tensor]]] = {False: [], True: []}
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
        found: list[tuple[Group[Seat], Prefix]] = []
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
        """Serve all rows with this seat inside the block."""
        with self._serving(Rows.all_of(seat, self.device)):
            yield

    def _stack(self, seats: Sequence[Seat]) -> Seat:
        first = seats[0].method
        assert isinstance(first, Stackable)
        return Seat(self, first.stacked([seat.method for seat in seats]))


def _actions(key: Key, seat: Seat) -> list[PairFn] | None:
    return seat.actions.get(key)


def _take(t: Tensor, rows: Tensor | None) -> Tensor:
    return t if rows is None else t[rows]
