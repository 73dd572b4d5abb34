"""A choice between functions, made by gradient descent (DARTS, Liu et al. 2019).

while open    c(z) = sum_k softmax(logits)_k f_k(z)
once decided  c(z) = f_j(z),  j = argmax of the logits
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from iapt.errors import AdapterError

OPEN = -1


class Choice(nn.Module):
    """A choice of one among several named candidates."""

    choice: Tensor

    __call__: Callable[..., Tensor]

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.logits: nn.Parameter | None = nn.Parameter(torch.zeros(len(self.names)))
        self.register_buffer("choice", torch.tensor(OPEN))
        self._index = OPEN  # the same value, readable without a device sync
        after_loading: Any = self.register_load_state_dict_post_hook
        after_loading(_read_choice)

    def forward(self, candidates: Sequence[Callable[[Tensor], Tensor]], z: Tensor) -> Tensor:
        """Apply the decided candidate to z, or all of them, weighted."""
        if not self.open:
            return candidates[self._index](z)
        shares = self.probabilities().to(z.dtype)
        return torch.stack([w * f(z) for w, f in zip(shares, candidates, strict=True)]).sum(0)

    def probabilities(self) -> Tensor:
        """softmax(logits), in fp32."""
        assert self.logits is not None
        return torch.softmax(self.logits.float(), dim=0)

    @property
    def open(self) -> bool:
        """Whether the choice is still open."""
        return self._index == OPEN

    @property
    def chosen(self) -> str:
        """Name of the decided candidate."""
        return self.names[self._index]

    def entropy(self) -> float:
        """Entropy of the probabilities, in nats: the lower, the more confident."""
        p = self.probabilities().detach()
        return float(-(p * p.log()).sum())

    def decide(self) -> None:
        """Take the most probable candidate."""
        self.take(int(self.probabilities().argmax()))

    def take(self, index: int) -> None:
        """Take a candidate by its number; -1 leaves the choice open.

        Raises:
            AdapterError: there is no such candidate.
        """
        if not OPEN <= index < len(self.names):
            raise AdapterError(
                f"a saved choice is {index}: there are {len(self.names)} candidates."
            )
        self._index = index
        self.choice.fill_(index)


def _read_choice(choice: Choice, _: object) -> None:
    choice.take(int(choice.choice))
