"""Shows a task's prompts as tokens, before any time is spent on training."""

from collections.abc import Sequence
from typing import Any

from iapt.data.encode import Encoded
from iapt.data.template import render
from iapt.data.tokens import Tokens, encode_all
from iapt.data.truncation import cuts
from iapt.tasks.base import Source, Split, Task

TOKEN_BORDER = "·"
RESPONSE_BORDER = " ‖ "


def preview(task: Task, source: Source, tokens: Tokens, split: Split, n: int) -> str:
    """Return the first n prompts of a split with their token boundaries, and the lengths in the split.

    Args:
        task: the task whose examples to show.
        source: the source of its rows.
        tokens: how examples are encoded.
        split: "train", "dev" or "test".
        n: how many prompts to show; lengths cover the whole split.

    Raises:
        DataError: the split cannot be made.
    """
    examples = task.examples(split, source)
    rendered = [render(e, task.template, tokens.template) for e in examples]
    encoded = encode_all(rendered, tokens.tokenizer, tokens.max_length, tokens.bos)
    parts = [
        f"[{i + 1}] {example.id}: {len(item.instruction)} + {len(item.response)} tokens"
        f"{_cut(item)}\n{with_borders(item, tokens.tokenizer)}\n"
        for i, (example, item) in enumerate(zip(examples[:n], encoded, strict=False))
    ]
    instructions = [len(item.instruction) for item in encoded]
    responses = [len(item.response) for item in encoded]
    cut = cuts([item for item in encoded if item.fits])
    unfit = sum(not item.fits for item in encoded)
    long = sum(size - 1 > task.max_new_tokens for size in responses)  # the end token is not needed
    parts.append(
        f"{task.name}/{split} from {source.name!r}: {len(encoded)} examples\n"
        f"  instruction  {_spread(instructions)}\n"
        f"  response     {_spread(responses)}\n"
        f"  truncated    {cut} instructions do not fit in {tokens.max_length} tokens\n"
        f"  no room      {unfit} responses leave no room for an instruction\n"
        f"  too long     {long} responses are longer than max_new_tokens={task.max_new_tokens}"
    )
    return "\n".join(parts)


def with_borders(item: Encoded, tokenizer: Any, ends: int | None = None) -> str:
    """Return the text with a middle dot between tokens and a double bar before the response.

    Args:
        item: the tokens.
        tokenizer: turns them back into text.
        ends: tokens to show at each end of a longer instruction; None shows all.
    """
    instruction, response = (
        [tokenizer.decode([token]) for token in part] for part in (item.instruction, item.response)
    )
    if ends and len(instruction) > 2 * ends:
        hidden = f" [... {len(instruction) - 2 * ends} more tokens ...] "
        instruction = [*instruction[:ends], hidden, *instruction[-ends:]]
    return f"{TOKEN_BORDER.join(instruction)}{RESPONSE_BORDER}{TOKEN_BORDER.join(response)}"


def _cut(item: Encoded) -> str:
    if not item.fits:
        return ", no room"
    return f", {item.truncated} cut" if item.truncated else ""


def _spread(sizes: Sequence[int]) -> str:
    ordered = sorted(sizes)
    last = len(ordered) - 1
    shares = (("min", 0.0), ("median", 0.5), ("95 %", 0.95), ("max", 1.0))
    return ", ".join(f"{name} {ordered[round(share * last)]}" for name, share in shares) + " tokens"
