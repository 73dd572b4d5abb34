"""Which examples go through the model together.

An optimizer batch is a set of examples fixed by (seed, epoch); a micro-batch is what fits the token
budget at once.  Examples are sorted by length inside a window of several optimizer batches, so that
micro-batches carry little padding.  The gradients of its micro-batches are accumulated, so that an
optimizer batch keeps its exact size.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from tqdm import tqdm

from iapt.errors import IaptError

WINDOW = 8  # optimizer batches whose examples are sorted by length together
# On a CPU, one more training pass costs as much as about 60 tokens, so more padding than this costs more.
# A GPU starts hundreds of kernels in a pass; what padding is worth there was not measured.
PADDING_ON_CPU = 64


def by_length(
    sizes: Sequence[int], budget: int, most_padding: int | None = None
) -> list[list[int]]:
    """Group indices of similar size.

    Args:
        sizes: tokens of each example.
        budget: the most tokens of a group, padding included; a larger example is a group of its own.
        most_padding: the most padding among them; any amount by default, which gives the fewest groups.
    """
    groups: list[list[int]] = []
    padding = 0  # of the last group
    for i in sorted(range(len(sizes)), key=lambda i: (sizes[i], i)):
        if groups:
            last = groups[-1]
            padding += len(last) * (sizes[i] - sizes[last[-1]])
            fits = (len(last) + 1) * sizes[i] <= budget
            if fits and (most_padding is None or padding <= most_padding):
                last.append(i)
                continue
        groups.append([i])
        padding = 0
    return groups


class Sampler:
    """An endless, resumable stream of optimizer batches (lists of example indices).

    Every epoch visits each example once, in an order drawn from (seed, epoch) alone; the last batch of an
    epoch may be smaller.  `position`, the number of batches drawn, is the only state.

    Args:
        sizes: length of each example in tokens.
        batch_size: examples in an optimizer batch.
        seed: the seed of the shuffling.
    """

    def __init__(self, sizes: Sequence[int], batch_size: int, seed: int) -> None:
        self.sizes, self.batch_size, self.seed = sizes, batch_size, seed
        self.position = 0
        self.batches_per_epoch = -(-len(sizes) // batch_size)
        self._epoch: tuple[int, list[list[int]]] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        return self

    def __next__(self) -> list[int]:
        epoch, index = divmod(self.position, self.batches_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._draw(epoch))
        self.position += 1
        return self._epoch[1][index]

    def _draw(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.sizes)))
        rng.shuffle(order)
        span = self.batch_size * WINDOW
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            window = sorted(order[start : start + span], key=lambda i: (self.sizes[i], i))
            cut = [window[i : i + self.batch_size] for i in range(0, len(window), self.batch_size)]
            rng.shuffle(cut)
            batches += cut
        return batches


def micro_batches(
    batch: Sequence[int], sizes: Sequence[int], budget: int, most_padding: int | None = None
) -> list[list[int]]:
    """Split an optimizer batch into micro-batches of at most `budget` padded tokens each, as in `by_length`."""
    groups = by_length([sizes[i] for i in batch], budget, most_padding)
    return [[batch[i] for i in group] for group in groups]


class Budget:
    """The most padded tokens in one pass, halved for good when a GPU's memory runs out.

    Args:
        tokens: the number at first.
        name: the setting's name, for messages.
        most_padding: the most padding among them; any amount by default.
    """

    def __init__(
        self, tokens: int, name: str = "batch_tokens", most_padding: int | None = None
    ) -> None:
        self.tokens, self._name, self._most_padding = tokens, name, most_padding

    @classmethod
    def of(cls, budget: "int | Budget") -> "Budget":
        """Return a budget for a number; a budget is returned as it is."""
        return budget if isinstance(budget, Budget) else cls(budget)

    def each(
        self, batch: Sequence[int], sizes: Sequence[int], run: Callable[[list[int]], None]
    ) -> None:
        """Call `run` once for every example, in micro-batches of similar length.

        If memory runs out, the micro-batch that failed and all later ones are formed again, smaller.

        Args:
            batch: indices of examples.
            sizes: tokens of every example.
            run: takes the indices of a micro-batch; must have changed nothing if memory runs out.

        Raises:
            IaptError: a single example does not fit into memory.
        """
        waiting = self._split(batch, sizes)
        while waiting:
            if _fits(run, waiting[0]):
                waiting.pop(0)
                continue
            rows, longest = len(waiting[0]), max(sizes[i] for i in waiting[0])
            if rows == 1:
                raise IaptError(
                    f"the GPU's memory cannot hold one example of {longest} tokens; lower hparams.max_length, or use "
                    "a smaller backbone, hparams.gradient_checkpointing=true or fewer beams."
                )
            self.tokens = min(self.tokens, rows * longest) // 2
            tqdm.write(
                f"Out of GPU memory with {rows} examples of up to {longest} tokens; continuing with {self._name}="
                f"{self.tokens}. Optimizer steps keep their examples, and results differ only by rounding."
            )
            waiting = self._split([i for group in waiting for i in group], sizes)

    def _split(self, batch: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
        return micro_batches(batch, sizes, self.tokens, self._most_padding)


def _fits(run: Callable[[list[int]], None], group: list[int]) -> bool:
    try:
        run(group)
    except torch.OutOfMemoryError:
        pass  # the traceback keeps the pass's tensors, which are freed only after this block
    else:
        return True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
