"""From an experiment's `grid` and the user's words to the words of every cell.

    grid:                                            # in configs/experiment/<name>.yaml
      - {task: [boolq, e2e], method: lora, method.rank: [2, 4]}
      - {task: [boolq, e2e], method: bitfit}         # six cells in all, times the seeds

Each block is the product of its axes, and the grid is the union of its blocks.  A grid may also be a mapping
from a scale (`paper`, or an entry of configs/scale/) to such a list, or the command that makes the table instead.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from pydantic import TypeAdapter

from iapt.configuration.checking import STRICT, Text, checked
from iapt.errors import ConfigError

Value = Text | int | float | bool
Block = dict[Text, Value | list[Value]]
_GRID: TypeAdapter[Text | list[Block] | dict[Text, list[Block]]] = TypeAdapter(
    Text | list[Block] | dict[Text, list[Block]], config=STRICT
)
MOST = 10_000  # cells of a grid; Table 1 has 525
Axes = Mapping[str, Sequence[str]]


def blocks_of(grid: object, experiment: str, scale: str) -> list[dict[str, list[str]]]:
    """Read an experiment's grid.

    Args:
        grid: its value in the composed configuration.
        experiment: the experiment's name, for messages.
        scale: `paper`, or an entry of configs/scale/.

    Returns:
        For each block, the words of each of its keys: {"task": ["task=boolq", "task=e2e"]}.

    Raises:
        ConfigError: the grid has another form, nothing at this scale, or nothing to run.
    """
    read = checked(_GRID, grid, f"{experiment}.grid")
    if isinstance(read, str):
        raise ConfigError(f"experiment={experiment}: nothing to train; the command is {read}")
    if isinstance(read, dict):
        if scale not in read:
            raise ConfigError(
                f"scale={scale}: experiment={experiment} has no grid at this scale; it has {', '.join(read)}."
            )
        read = read[scale]
    return [
        {
            key: [f"{key}={_text(v)}" for v in (values if isinstance(values, list) else [values])]
            for key, values in block.items()
        }
        for block in read
    ]


def check_size(words: str, count: int) -> None:
    """Refuse a grid that nobody means to run, before its cells take all memory.

    Args:
        words: the words that give the cells, for the message.
        count: the number of cells; above MOST, any number will do.

    Raises:
        ConfigError: there are none, or more than MOST.
    """
    if not count:
        raise ConfigError(f"{words}: gives no cell, so there is nothing to run.")
    if count > MOST:
        raise ConfigError(
            f"{words}: a sweep has at most {MOST:,} cells, and this asks for more; give fewer values."
        )


def combinations(given: Axes, blocks: Sequence[Axes] = ()) -> list[tuple[str, ...]]:
    """Return the words of every cell, in order and without repetition.

    The user's values of a key narrow the blocks that have this key, and leave out the other blocks; values that
    no block has replace the experiment's (`+experiment=table1 method=my_method`). A key that no block has is
    added to all of them.

    Args:
        given: key -> the user's words, one per value.
        blocks: the experiment's blocks; if empty, the cells are all combinations of the user's words.

    Raises:
        ConfigError: some of a key's values are in the experiment's grid and some are not, or there are more
            than MOST cells.
    """
    kept = list(blocks) or [given]
    for key, words in given.items() if blocks else ():
        known = dict.fromkeys(word for block in blocks for word in block.get(key, ()))
        if not known:
            kept = [{**block, key: words} for block in kept]
            continue
        strange = [word for word in words if word not in known]
        if strange and len(strange) < len(words):
            raise ConfigError(
                f"{', '.join(strange)}: not in the experiment's grid, which has {', '.join(known)}. Give only "
                "values of the grid, to narrow it, or only others, to replace its own."
            )
        kept = [
            {**block, key: [w for w in words if strange or w in block[key]]}
            for block in kept
            if key in block
        ]
    several = [words[0].partition("=")[0] for words in given.values() if len(words) > 1]
    check_size(" x ".join(several) or "the grid", sum(prod(map(len, b.values())) for b in kept))
    return list(dict.fromkeys(cell for block in kept for cell in product(*block.values())))


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
