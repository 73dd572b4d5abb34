"""From examples to a score: encode, decode, parse, score, for a run and for a saved adapter alike.

examples -> instructions -> tokens -> texts -> answers -> Scores
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iapt.backbone import processes
from iapt.backbone.base import Backbone
from iapt.data.encode import Encoded
from iapt.data.template import render
from iapt.data.tokens import Tokens, encode_all
from iapt.data.truncation import check_most_fit, fitting
from iapt.errors import ConfigError
from iapt.files import cache_root, write_lines
from iapt.inference.generate import decode
from iapt.plan import Plan
from iapt.progress import progress
from iapt.tasks.base import Clustered, Example, Scores, Split, Task

TRAINING: tuple[Split, ...] = ("train", "dev")


@dataclass(frozen=True)
class Prompts:
    """The splits of a run, as it uses them.

    Attributes:
        examples: the examples of each split whose responses fit.
        encoded: their tokens; those of "test" are instructions alone.
        left_out: the training and dev examples whose responses do not fit.
    """

    examples: dict[Split, list[Example]]
    encoded: dict[Split, list[Encoded]]
    left_out: dict[Split, list[Example]]


@dataclass(frozen=True)
class Evaluation:
    """A decoded and scored split.

    Attributes:
        examples: the examples asked, with the further turns of a conversation.
        instructions: what each asks, without the backbone's own format.
        outputs: the model's output for each.
        parsed: the answer found in each output, or None.
        scores: the scores over all examples.
        items: the score of each example, whose mean is the score of all; empty for a metric that is not a mean.
        clusters: a number for each example, the same for those that are not independent.
        further: the tokens of the further turns' prompts, which may have been cut.
    """

    examples: list[Example]
    instructions: list[str]
    outputs: list[str]
    parsed: list[str | None]
    scores: Scores
    items: tuple[float, ...]
    clusters: tuple[int, ...]
    further: Sequence[Encoded] = ()

    def write_predictions(self, path: Path) -> None:
        """Write one JSON line per example: id, instruction, output, parsed, references, score (0-100 or null).

        Raises:
            StorageError: the file cannot be written.
        """
        scores = self.items or [None] * len(self.examples)
        _write(path, self.examples, self.instructions, self.outputs, self.parsed, scores)


def _write(
    path: Path,
    examples: Sequence[Example],
    instructions: Sequence[str],
    outputs: Sequence[str],
    parsed: Sequence[str | None] | None = None,
    scores: Sequence[float | None] | None = None,
) -> None:
    columns = {
        "id": [e.id for e in examples],
        "instruction": instructions,
        "output": outputs,
        "parsed": parsed,
        "references": [e.references for e in examples],
        "score": scores,
    }
    known = {name: column for name, column in columns.items() if column is not None}
    lines = zip(*known.values(), strict=True)
    write_lines(path, (dict(zip(known, line, strict=True)) for line in lines))


def encode_splits(plan: Plan, examples: Mapping[Split, list[Example]], tokens: Tokens) -> Prompts:
    """Encode the three splits of a run.

    Raises:
        ConfigError: most prompts of a split do not fit, or a test prompt is empty or has no room.
        DataError: a response does not fit, and `hparams.on_long` does not allow skipping it.
    """
    room = plan.task.max_new_tokens
    made = {split: encode_to_learn(plan.task, examples[split], tokens) for split in TRAINING}
    made["test"] = _without_responses(plan.task.template, examples["test"], tokens, room)
    check_most_fit(made, plan.max_length, room, plan.positions)
    _check_fit(examples["test"], made["test"], tokens, room)
    prompts = Prompts(dict(examples), made, {})
    skip = plan.hparams.on_long == "skip"
    for split in TRAINING:
        found = fitting(examples[split], made[split], plan.max_length, plan.place, skip=skip)
        prompts.examples[split], prompts.encoded[split] = found.examples, found.encoded
        prompts.left_out[split] = found.left_out
    return prompts


def encode_to_learn(task: Task, examples: Sequence[Example], tokens: Tokens) -> list[Encoded]:
    """Encode instructions with their responses, and cache the tokens for other seeds.

    An example whose response is too long does not `fit`.
    """
    rendered = [render(e, task.template, tokens.template) for e in examples]
    cache = cache_root() / "tokens"
    return encode_all(rendered, tokens.tokenizer, tokens.max_length, tokens.bos, cache)


def encode_to_decode(
    template: str, examples: Sequence[Example], tokens: Tokens, max_new_tokens: int
) -> list[Encoded]:
    """Encode instructions alone, truncated if needed to leave room for the longest answer, not the gold one.

    Args:
        template: the task's template, which each example's fields fill.
        examples: what to ask.
        tokens: how the backbone reads text.
        max_new_tokens: the length of the longest answer.

    Raises:
        ConfigError: no room is left for a prompt, or a prompt is empty.
    """
    encoded = _without_responses(template, examples, tokens, max_new_tokens)
    _check_fit(examples, encoded, tokens, max_new_tokens)
    return encoded


def _without_responses(
    template: str, examples: Sequence[Example], tokens: Tokens, max_new_tokens: int
) -> list[Encoded]:
    rendered = [replace(render(e, template, tokens.template), response="") for e in examples]
    room = tokens.max_length - max_new_tokens + 1  # the empty response is one end token
    return encode_all(rendered, tokens.tokenizer, room, tokens.bos)


def _check_fit(
    examples: Sequence[Example], encoded: Sequence[Encoded], tokens: Tokens, max_new_tokens: int
) -> None:
    for example, made in zip(examples, encoded, strict=True):
        if not made.fits:
            why = (
                f"max_new_tokens={max_new_tokens} leaves {tokens.max_length - max_new_tokens} of {tokens.max_length} "
                "tokens for the prompt, fewer than its templates need"
                if made.truncated
                else "the prompt is empty"
            )
            raise ConfigError(f"{example.id}: {why}.")


def evaluate(
    task: Task,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    backbone: Backbone,
    tokens: Tokens,
    *,
    num_beams: int,
    batch_tokens: int,
    predictions: Path | None = None,
) -> Evaluation:
    """Decode examples, ask the follow-up questions (MT-Bench's second turn), and score everything.

    Args:
        task: parses and scores the outputs.
        examples: what to ask.
        encoded: the examples' tokens from `encode_to_decode`.
        backbone: the backbone, with a method attached or bare.
        tokens: how the backbone reads text.
        num_beams: the number of beams; 1 is greedy search.
        batch_tokens: the most tokens in one batch.
        predictions: a file for what `Evaluation.write_predictions` writes; it has the outputs even if scoring fails.
    """

    def texts(instructions: Sequence[Encoded]) -> list[str]:
        with progress(
            "decoding", "example", len(instructions), hidden=not processes.first()
        ) as bar:
            return decode(
                backbone,
                [e.instruction for e in instructions],
                tokens.tokenizer,
                num_beams=num_beams,
                max_new_tokens=task.max_new_tokens,
                batch_tokens=batch_tokens,
                on_batch=bar.update,
            )

    asked, outputs = list(examples), texts(encoded)
    further = task.follow_ups(asked, outputs)
    encoded_further = encode_to_decode(task.template, further, tokens, task.max_new_tokens)
    if further:
        outputs += texts(encoded_further)
        asked += further
    instructions = [render(e, task.template, "{query}").instruction for e in asked]
    if predictions is not None:
        _write(predictions, asked, instructions, outputs)
    parsed = [task.parse(output, e) for output, e in zip(outputs, asked, strict=True)]
    scores = task.score(parsed, asked)
    items = item_scores(task, parsed, asked, scores.value)
    together = clusters(task, asked)
    made = Evaluation(
        asked, instructions, outputs, parsed, scores, items, together, encoded_further
    )
    if predictions is not None:
        made.write_predictions(predictions)
    return made


def item_scores(
    task: Task, parsed: Sequence[str | None], examples: Sequence[Example], value: float
) -> tuple[float, ...]:
    """Score each example alone, 0-100, for comparisons of methods item by item.

    Args:
        task: scores the answers.
        parsed: the answer to each example, or None.
        examples: the examples.
        value: the score of all of them together.

    Returns:
        Scores whose mean is `value`; empty if the task's metric is not a mean over examples (BLEU).
    """
    try:
        items = tuple(
            task.score([answer], [e]).value for answer, e in zip(parsed, examples, strict=True)
        )
    except Exception:  # noqa: BLE001  # a user's own metric may need several examples
        return ()
    return items if math.isclose(math.fsum(items) / len(items), value, abs_tol=1e-6) else ()


def clusters(task: Task, examples: Sequence[Example]) -> tuple[int, ...]:
    """Number examples so that those that are not independent (such as those on one passage) share a number.

    Returns:
        One number per example, counted from 0 by first occurrence; empty if all are independent.
    """
    if not isinstance(task, Clustered):
        return ()
    numbers: dict[Hashable, int] = {}
    keys = [task.cluster_of(e) for e in examples]
    own = [(i,) if key is None else ("", key) for i, key in enumerate(keys)]
    named = [numbers.setdefault(key, len(numbers)) for key in own]
    return tuple(named) if len(numbers) < len(named) else ()
