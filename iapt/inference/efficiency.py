"""Speed and memory of decoding (the paper's Table 4, Appendix G).

Instructions are decoded to a fixed number of new tokens (the end token is suppressed), after warm-up runs,
and the device is synchronised before and after every timed run.  Speed is the number of new tokens in the
returned answer per second of wall time, prefill included; it does not count each beam.  The prefill is the
time to the first token, and a decoding step is what the other tokens take, each.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median, quantiles

import torch

from iapt.backbone.device import bytes_of
from iapt.provenance import peak_memory_mib, reset_peak_memory


@dataclass(frozen=True)
class Spread:
    """Repeated values, such as seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median."""
        return median(self.values)

    @property
    def ends(self) -> tuple[float, float]:
        """5th and 95th percentile."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        cut = quantiles(self.values, n=20, method="inclusive")  # within the observed range
        return cut[0], cut[-1]

    def over(self, other: "Spread") -> "Spread":
        """Ratios of values that were taken in the same turn."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Timing:
    """Repeated timings of one thing.

    Attributes:
        whole: wall seconds of each repeat.
        first: wall seconds to the first token of each repeat; empty if not measured.
        tokens: new tokens of an answer.
        peak_mib: peak memory while timing: allocated on the CUDA device, or the process's resident set.
    """

    whole: Spread
    first: Spread
    tokens: int
    peak_mib: float

    @property
    def step(self) -> Spread:
        """Seconds of each token after the first."""
        pairs = zip(self.whole.values, self.first.values, strict=True)
        return Spread(tuple((whole - first) / max(1, self.tokens - 1) for whole, first in pairs))

    @property
    def tokens_per_second(self) -> float:
        """New tokens over median seconds."""
        return self.tokens / self.whole.median


Turn = AbstractContextManager[Callable[[int], object]]


def measure_in_turn(
    contenders: Mapping[str, Callable[[], Turn]],
    device: torch.device,
    *,
    repeats: int,
    warmup: int,
    tokens: int,
    apart: bool = False,
) -> dict[str, Timing]:
    """Time several things alternately (A B C A B C ...), so that drift of the machine affects all alike.

    Args:
        contenders: name -> a function that returns a context; the context yields a function that decodes
            a given number of new tokens.  Entering and leaving it (attaching a method, wrapping a model) is not timed.
        device: the device of the work.
        repeats: timed calls of each.
        warmup: untimed calls of each before its first timed one.
        tokens: new tokens per call.
        apart: also time a call with one token, the prefill.
    """
    whole: dict[str, list[float]] = {name: [] for name in contenders}
    first: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, float] = dict.fromkeys(contenders, 0.0)
    for turn in range(repeats):
        for name, contender in contenders.items():
            with contender() as run:
                for _ in range(0 if turn else warmup):
                    run(tokens)
                if apart:
                    first[name].append(seconds_of(lambda run=run: run(1), device))  # type: ignore[misc]
                taken, peak = timed(lambda run=run: run(tokens), device)  # type: ignore[misc]
            whole[name].append(taken)
            peaks[name] = max(peak, peaks[name])
    return {
        name: Timing(Spread(tuple(whole[name])), Spread(tuple(first[name])), tokens, peaks[name])
        for name in contenders
    }


def timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the seconds of one call and its peak memory (MiB; see `iapt.provenance`)."""
    reset_peak_memory(device)
    seconds = seconds_of(run, device)
    return seconds, peak_memory_mib(device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, with what it left a GPU to do."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def peak_with_weights(
    run: Callable[[], float], model: torch.nn.Module, device: torch.device
) -> tuple[float, float]:
    """Return what a call returns, and the memory that it and the model's weights take at its peak (MiB).

    Other memory of the process does not count, so several things can be measured in one process: on a
    CPU, freed memory is first returned to the system.
    """
    reset_peak_memory(device, alone=True)
    before = peak_memory_mib(device)
    found = run()
    added = peak_memory_mib(device) - before
    return found, added + bytes_of(model) / 2**20


@torch.no_grad()
def reading_seconds(model: torch.nn.Module, repeats: int = 5) -> tuple[float, int]:
    """Return the seconds that one read of a model's matrices takes (the best of some), and their bytes.

    A decoding step reads every matrix once, whatever the number of beams, except an embedding table that
    is not the head's too: this is the limit that memory alone sets.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    table = model.get_input_embeddings().weight  # type: ignore[operator]
    if model.get_output_embeddings().weight is not table:  # type: ignore[operator]
        matrices = [p for p in matrices if p is not table]
    # Whole words are added: no kernel does less work for the same number of bytes.
    words = [p.contiguous().view(torch.uint8).flatten() for p in matrices]
    words = [w[: len(w) // 8 * 8].view(torch.int64) for w in words]
    device = matrices[0].device
    best = min(seconds_of(lambda: [w.sum() for w in words], device) for _ in range(repeats))
    return best, sum(p.numel() * p.element_size() for p in matrices)
