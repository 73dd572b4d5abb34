"""The rows of a mixed batch: which of them each seat serves, and where the seats' outputs belong."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor


class Seat(Protocol):
    """What this file needs to know of something that serves rows."""

    @property
    def form(self) -> Hashable:
        """What seats must have in common to be stacked; None if this one cannot be."""

    @property
    def steps(self) -> bool:
        """Whether the seat does anything in a decoding step."""


S = TypeVar("S", bound=Seat)
Group = tuple[S, Tensor | None]  # a seat and its rows' indices; None stands for all rows
Stack = Callable[[Sequence[S]], S]  # seats of several rows, in order -> one seat for them all


class Rows(Generic[S]):
    """Which rows of a batch belong to which seat.

    Args:
        owners: index of each row's seat, -1 for the bare model.
        seats: all seats.
        stack: makes one seat out of the seats of rows with the same form; None keeps all seats separate.
        device: the device of the tensors.
        stepping: leave out seats that do nothing in a decoding step.
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
        """Return any number of rows, all served by one seat."""
        rows = cls([], [], None, device)
        rows._groups = [(seat, None)]
        return rows

    @property
    def groups(self) -> list[Group[S]]:
        """Which seat serves which rows; computed on first use, because stacking copies parameters."""
        if self._groups is None:
            members: dict[Hashable, list[int]] = {}  # by form, or by seat if it cannot be stacked
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
        """Drop stacked seats; if needed, they are stacked again from the parameters as they are then."""
        self._groups = None
        self._patterns = {}

    def stepping(self) -> "Rows[S]":
        """Return these rows for decoding steps."""
        rows = Rows(self.owners, self.seats, self._stack, self.device, stepping=True)
        if self._groups is not None:  # stacked already
            rows._groups = [group for group in self._groups if group[0].steps]
        return rows

    def take(self, index: Tensor) -> "Rows[S]":
        """Return the rows at these indices, in this order."""
        owners = [self.owners[i] for i in index.tolist()]
        if owners == self.owners:
            return self
        return Rows(owners, self.seats, self._stack, self.device, self._stepping)

    def columns(self, parts: Sequence[tuple[Group[S], Tensor]]) -> tuple[Tensor, Tensor]:
        """Put each group's part (b, P_i, ...) into its rows of one tensor (B, max P_i, ...).

        Returns:
            The tensor, and which columns each row has, (B, max P_i).
        """
        width = max(part.shape[1] for _, part in parts)
        whole = parts[0][1].new_zeros(len(self.owners), width, *parts[0][1].shape[2:])
        for (_, rows), part in parts:
            whole[rows, : part.shape[1]] = part
        return whole, self.pattern([(group, part.shape[1]) for group, part in parts], width)

    def pattern(self, parts: Sequence[tuple[Group[S], int]], width: int) -> Tensor:
        """Return a bool (B, width), true in each group's first columns; equal calls return the same object."""
        key = (width, *((id(seat), size) for (seat, _), size in parts))
        if key not in self._patterns:  # attention masks are made once per object
            made = torch.zeros(len(self.owners), width, dtype=torch.bool, device=self.device)
            for (_, rows), size in parts:
                made[rows, :size] = True
            self._patterns[key] = made
        return self._patterns[key]
