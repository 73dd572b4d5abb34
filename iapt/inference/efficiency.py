"""Speed and memory of decoding (the paper's Table 4, Appendix G).

It decodes one instruction to a fixed number of new tokens (the end token is suppressed), after warm-up
runs, and synchronises the device before and after every timed run.  Speed is the number of new tokens in
the returned answer per second of wall time, prefill included; it does not count each beam.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median, quantiles

import torch

FILLER = "The committee met again in spring and found that the bridge, the mill and the old school needed repair. "


@dataclass(frozen=True)
class Timing:
    """Repeated timings of one thing.

    Attributes:
        seconds: the wall time of each repeat.
        tokens: new tokens per repeat (0 if nothing is decoded).
        peak_mib: peak memory allocated on the CUDA device while timing; None on a CPU.
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
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        cut = quantiles(self.seconds, n=20, method="inclusive")  # within what was seen
        return cut[0], cut[-1]

    @property
    def tokens_per_second(self) -> float:
        """New tokens over median seconds."""
        return self.tokens / self.median


Turn = AbstractContextManager[Callable[[], object]]


def measure_in_turn(
    contenders: Mapping[str, Callable[[], Turn]],
    device: torch.device,
    *,
    repeats: int,
    warmup: int,
    tokens: int = 0,
) -> dict[str, Timing]:
    """Time several things alternately (A B C A B C ...), so that drift of the machine affects all alike.

    Args:
        contenders: name -> a function that returns a context; the function that the context yields is
            timed, entering and leaving the context (attaching a method, wrapping a model) is not.
        device: the device of the work.
        repeats: timed calls of each.
        warmup: untimed calls of each before its first timed one.
        tokens: new tokens per call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, float] = {}
    for turn in range(repeats):
        for name, contender in contenders.items():
            with contender() as run:
                for _ in range(0 if turn else warmup):
                    run()
                taken, peak = timed(run, device)
            seconds[name].append(taken)
            if peak is not None:
                peaks[name] = max(peak, peaks.get(name, 0.0))
    return {name: Timing(tuple(s), tokens, peaks.get(name)) for name, s in seconds.items()}


def timed(run: Callable[[], object], device: torch.device) -> tuple[float, float | None]:
    """Return the seconds of one call, and its peak memory on a CUDA device (MiB)."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return seconds, torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None
