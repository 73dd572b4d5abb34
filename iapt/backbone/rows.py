"""Whose rows a batch has: which of them each seat serves, and where what a seat makes belongs."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor


class Seat(Protocol):
    """Somebody who serves rows, as far as this file is concerned."""

    @property
    def form(self) -> Hashable:
        """What seats that are stacked have in common; None is a seat that cannot be stacked."""

    @property
    def steps(self) -> bool:
        """Whether there is anything to do in a decoding step."""


S = TypeVar("S", bound=Seat)
Group = tuple[S, Tensor | None]  # a seat and its rows' indices; None stands for all rows
Stack = Callable[[Sequence[S]], S]  # one seat for several rows, in order


class Rows(Generic[S]):
    """Which rows of a batch belong to which seat.

    Args:
        owners: index of each row's seat, -1 for the bare model.
        seats: all of them.
        stack: makes one seat of those that rows of one form have; None leaves every seat on its own.
        device: of the tensors.
        stepping: only what is done in decoding steps matters.
    """

    def __init__(
        self,
        owners: Sequence[int],
        seats: Sequence[S],
        stack: Stack[S] | None,
        device: torch.device,
        stepping: bool = False,
    ) -> None:
        self.owners, self.seats, self.device = owners, seats, device
        self._stack, self._stepping = stack, stepping
        self._groups: list[Group[S]] | None = None
        self._patterns: dict[Any, Tensor] = {}

    @classmethod
    def all_of(cls, seat: S, device: torch.device) -> "Rows[S]":
        """Rows of unknown number that one seat serves."""
        rows = cls([], [], None, device)
        rows._groups = [(seat, None)]
        return rows

    @property
    def groups(self) -> list[Group[S]]:
        """Who serves which rows; made when first asked for, because stacking copies parameters."""
        if self._groups is None:
            members: dict[Hashable, list[int]] = {}  # by form, or by seat if that cannot be stacked
            for row, owner in enumerate(self.owners):
                if owner >= 0 and (self.seats[owner].steps or not self._stepping):
                    form = self.seats[owner].form if self._stack else None
                    members.setdefault(owner if form is None else form, []).append(row)
            self._groups = [self._group(rows) for rows in members.values()]
        return self._groups

    def _group(self, rows: list[int]) -> Group[S]:
        seats = [self.seats[self.owners[row]] for row in rows]
        alone = all(seat is seats[0] for seat in seats)
        seat = seats[0] if alone or self._stack is None else self._stack(seats)
        whole = len(rows) == len(self.owners)
        return seat, None if whole else torch.tensor(rows, device=self.device)

    def forget(self) -> None:
        """Drop what was stacked; it is stacked again, from the parameters as they are then, if needed."""
        self._groups = None
        self._patterns = {}

    def stepping(self) -> "Rows[S]":
        """These rows in decoding steps."""
        rows = Rows(self.owners, self.seats, self._stack, self.device, stepping=True)
        if self._groups is not None:  # stacked already
            rows._groups = [group for group in self._groups if group[0].steps]
        return rows

    def take(self, index: Tensor) -> "Rows[S]":
        """These rows, in this order."""
        owners = [self.owners[i] for i in index.tolist()]
        if owners == self.owners:
            return self
        return Rows(owners, self.seats, self._stack, self.device, self._stepping)

    def columns(self, parts: Sequence[tuple[Group[S], Tensor]]) -> tuple[Tensor, Tensor]:
        """Put each group's part (b, P_i, ...) into its rows of one tensor (B, max P_i, ...).

        Returns:
            The tensor, and which columns a row has, (B, max P_i).
        """
        width = max(part.shape[1] for _, part in parts)
        whole = parts[0][1].new_zeros(len(self.owners), width, *parts[0][1].shape[2:])
        for (_, rows), part in parts:
            whole[rows, : part.shape[1]] = part
        return whole, self.pattern([(group, part.shape[1]) for group, part in parts], width)

    def pattern(self, parts: Sequence[tuple[Group[S], int]], width: int) -> Tensor:
        """Bool (B, width), true in each group's first columns; equal calls return one and the same object."""
        key = (width, *((id(seat), size) for (seat, _), size in parts))
        if key not in self._patterns:  # attention masks are made once per object
            made = torch.zeros(len(self.owners), width, dtype=torch.bool, device=self.device)
            for (_, rows), size in parts:
                made[rows, :size] = True
            self._patterns[key] = made
        return self._patterns[key]
