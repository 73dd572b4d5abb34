"""Optimizer steps of several learners in turn: their speed, memory and share of the peak rate, as ratios."""

from collections.abc import Mapping
from typing import Any

from iapt.backbone.base import Backbone
from iapt.inference.efficiency import Spread, peak_with_weights
from iapt.inference.learners import (
    PEER_GROUPED,
    PEER_RANDOM,
    Learner,
    Made,
    learners,
    peers,
    same_losses,
)
from iapt.inference.products import peak_rate
from iapt.training.step import Data

Key = tuple[str, str]  # learner, dtype


class Contest:
    """Learners on the same rows and backbone, in one or more dtypes.

    The peer of all of them is Trainer as it is usually run: in the first dtype, with random batches.  The peer of a
    dtype has that dtype and batches of similar length.

    Args:
        backbones: dtype -> backbone, the usual dtype first.
        methods: name -> (a function that makes it, its hyperparameters).
        data: the rows.
        batch_size: rows of an optimizer step.

    Attributes:
        learners: by (name, dtype).
        rates: dtype -> the most operations per second of the backbone's matrix products.
        losses: method -> (ours, peft's) on the same rows with the same parameters.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        methods: Mapping[str, Made],
        data: Data,
        batch_size: int,
    ) -> None:
        self._backbones, self._data = backbones, data
        usual = next(iter(backbones))
        self.learners: dict[Key, Learner] = {}
        for dtype, backbone in backbones.items():
            ours = learners(backbone, methods, data, batch_size)
            self.learners |= {(name, dtype): learner for name, learner in ours.items()}
            if dtype == usual:
                self.learners[PEER_RANDOM, dtype] = peers(backbone, data, batch_size, grouped=False)
            self.learners[PEER_GROUPED, dtype] = peers(backbone, data, batch_size, grouped=True)
        self._usual = PEER_RANDOM, usual
        self.rates = {dtype: peak_rate(backbone) for dtype, backbone in backbones.items()}
        self.losses = same_losses(backbones[usual], methods, data)
        counted = {key: one.products for key, one in self.learners.items() if one.products}
        self._operations = {key: products() for key, products in counted.items()}
        self._seconds: dict[Key, list[float]] = {key: [] for key in self.learners}
        self._peaks: dict[Key, float] = dict.fromkeys(self.learners, 0.0)

    def measure(self, key: Key) -> None:
        """Let one learner visit all rows."""
        backbone = self._backbones[key[1]]
        seconds, peak = peak_with_weights(
            self.learners[key].seconds, backbone.model, backbone.device
        )
        self._seconds[key].append(seconds)
        self._peaks[key] = max(self._peaks[key], peak)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for every learner; ratios are those of the same turn."""
        return [self._row(key) for key in self.learners]

    def _row(self, key: Key) -> dict[str, Any]:
        name, dtype = key
        own = Spread(tuple(self._seconds[key]))
        row: dict[str, Any] = {
            "what": name,
            "dtype": dtype,
            "seconds": own.values,
            "examples_per_second": len(self._data.examples) / own.median,
            "peak_mib": self._peaks[key],
        }
        for word, peer in (("usual", self._usual), ("grouped", (PEER_GROUPED, dtype))):
            ratio = Spread(tuple(self._seconds[peer])).over(own)
            row[f"speed_to_{word}"] = ratio.median
            row[f"speed_to_{word}_5_95"] = ratio.ends
            row[f"memory_to_{word}"] = self._peaks[key] / self._peaks[peer]
        if key in self._operations:
            row["operations"] = self._operations[key]
            row["share_of_peak"] = row["operations"] / own.median / self.rates[dtype]
        return row
