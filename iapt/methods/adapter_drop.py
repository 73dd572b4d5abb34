"""AdapterDrop: Houlsby adapters, but none in the lowest n blocks (Rücklé et al. 2021).

    block l < n:    A1 = A2 = identity
    block l >= n:   as in `houlsby.py`

The original has two regimes.  Specialised (`robust=False`): n is fixed in training and afterwards, and
the dropped adapters do not exist.  Robust: every optimizer step draws n ~ U{0 .. floor(L 10/12)}
(the adapters library's notebook: 0 to 10 of 12 blocks), so that any n can be used afterwards;
evaluation uses `drop_layers`.

No whole n gives the paper's 9.2M; n = 1 is nearest (2 * 31 * 2 * 4096 * 18 = 9,142,272 on
LLaMA-2 7B).  A step's draw is a function of a seed in the state and of the step's number, so it is the
same for every micro-batch and process, and after resuming.
"""

import random

import torch
from torch import Tensor

from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive
from iapt.errors import ConfigError
from iapt.methods.arguments import Size
from iapt.methods.base import Progress
from iapt.methods.houlsby import Houlsby, SequentialAdapter
from iapt.methods.stacked import Stackable

ROBUST_SHARE = (10, 12)  # the largest n drawn, as a share of the blocks


class AdapterDrop(Houlsby, Stackable):
    """Houlsby adapters in the upper blocks.

    Args:
        dims: sizes of the backbone.
        drop_layers: n, the number of lowest blocks without adapters (in the robust regime: outside training).
        robust: draw a new n for every training step.
        bottleneck_dim: m.
        init_std: standard deviation of both matrices.
        bias: give both maps biases.
    """

    def __init__(
        self,
        dims: Dims,
        drop_layers: int = 1,
        robust: bool = False,
        bottleneck_dim: Size = 18,
        init_std: Positive = 1e-2,
        bias: bool = False,
    ) -> None:
        if not 0 <= drop_layers < dims.num_layers:
            raise ConfigError(
                f"method.drop_layers={drop_layers}: must be from 0 to {dims.num_layers - 1}, "
                f"one less than the number of blocks."
            )
        self.drop_layers, self.robust = drop_layers, robust
        super().__init__(dims, bottleneck_dim, init_std, bias)
        self._largest = dims.num_layers * ROBUST_SHARE[0] // ROBUST_SHARE[1]
        self._drawn = drop_layers
        if robust:
            self.register_buffer("seed", torch.randint(2**31, ()))
            for layer in range(drop_layers):
                # These adapters are trained, and idle outside training.
                self.blocks[f"{layer}"].decodes = False  # type: ignore[assignment]

    def layers(self, dims: Dims) -> range:
        return range(0 if self.robust else self.drop_layers, dims.num_layers)

    def on_step_start(self, progress: Progress) -> None:
        if self.robust:
            draw = random.Random(f"{int(self.seed)}/{progress.step}")  # type: ignore[arg-type]
            self._drawn = draw.randint(0, self._largest)

    def adapt(self, layer: int, adapter: SequentialAdapter, x: Tensor, y: Tensor) -> Tensor:
        dropped = self._drawn if self.training else self.drop_layers
        return y if layer < dropped else adapter(y)
