"""Decoding steps that a GPU replays: one CUDA graph instead of a launch for every small kernel.

A step over a `FixedState` does the same work at the same addresses each time.  The first one runs as usual
and sets up what libraries and methods set up on first use; the second is recorded, and it and all later
ones are replayed.  On other devices every step runs as usual.
"""

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.cache import FixedState


class Recorded:
    """A backbone that continues from a fixed state, one step of a search at a time.

    Args:
        backbone: with the method attached; nothing may be attached or detached until the search ends.
        state: of its prefill.
    """

    def __init__(self, backbone: Backbone, state: FixedState) -> None:
        self._backbone, self._state = backbone, state
        self.reorder = state.reorder
        self._records = state.own.is_cuda
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def step(self, tokens: Tensor) -> Tensor:
        """Feed a token per beam; return next-token logits, which the next step overwrites."""
        if not self._records:
            return self._backbone.step(tokens, self._state)
        with torch.cuda.device_of(self._state.own):  # graphs and streams belong to the current GPU
            return self._replayed(tokens)

    def _replayed(self, tokens: Tensor) -> Tensor:
        if not self._warm:
            self._warm = True
            return self._aside(tokens)
        if self._graph is None:
            self._tokens, self._graph = tokens.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records, and computes nothing
                self._logits = self._backbone.step(self._tokens, self._state)
        else:
            self._state.count()
            self._tokens.copy_(tokens)
        self._graph.replay()
        return self._logits

    def keep(self, rows: Tensor) -> None:
        """Continue with these rows only; a step of a new size is recorded again."""
        self._state.keep(rows)
        self._graph, self._warm = None, False

    def _aside(self, tokens: Tensor) -> Tensor:
        """Run a step on a separate stream, as CUDA requires before recording."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            logits = self._backbone.step(tokens, self._state)
        torch.cuda.current_stream().wait_stream(stream)
        return logits
