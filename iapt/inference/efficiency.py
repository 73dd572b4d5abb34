"""Speed and memory of decoding (the paper's Table 4, Appendix G).

One instruction, a fixed number of new tokens (the end token is suppressed), warm-up runs first, the
device synchronised on both sides of every timed run.  Speed is new tokens of the returned answer per
second of wall time, prefill included; beams are not multiplied in.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch

FILLER = "The committee met again in spring and found that the bridge, the mill and the old school needed repair. "


@dataclass(frozen=True)
class Timing:
    """Repeated timings of one thing.

    Attributes:
        seconds: one wall time for each repeat.
        tokens: new tokens of one repeat (0: not a decoding).
        peak_mib: largest memory allocated on the CUDA device while timing; None on CPU.
    """

    seconds: tuple[float, ...]
    tokens: int
    peak_mib: float | None

    @property
    def median(self) -> float:
        """Median seconds."""
        return median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """5th and 95th percentile of the seconds."""
        cut = quantiles(self.seconds, n=20) if len(self.seconds) > 1 else [self.seconds[0]] * 19
        return cut[0], cut[-1]

    @property
    def tokens_per_second(self) -> float:
        """New tokens over median seconds."""
        return self.tokens / self.median


def measure(
    run: Callable[[], object], device: torch.device, *, repeats: int, warmup: int, tokens: int = 0
) -> Timing:
    """Time `run` after `warmup` untimed calls."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(warmup):
        run()
    wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return Timing(tuple(seconds), tokens, peak)


def measure_in_turn(
    runs: dict[str, Callable[[], object]],
    device: torch.device,
    *,
    repeats: int,
    warmup: int,
    tokens: int = 0,
) -> dict[str, Timing]:
    """Time several things alternately (A B C A B C ...), so that a drifting machine is fair to all."""
    for run in runs.values():
        for _ in range(warmup):
            run()
    found: dict[str, list[Timing]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(measure(run, device, repeats=1, warmup=0, tokens=tokens))
    return {
        name: Timing(
            tuple(t.seconds[0] for t in timings),
            tokens,
            max((t.peak_mib for t in timings if t.peak_mib is not None), default=None),
        )
        for name, timings in found.items()
    }
