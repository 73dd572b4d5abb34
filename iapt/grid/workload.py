"""The amount of work in a run: examples, steps, tokens. Finding it loads no weights and fetches nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from iapt.backbone.load import tokenizer_at_hand
from iapt.data.encode import Encoded
from iapt.data.source import limited
from iapt.data.template import render
from iapt.data.tokens import Tokens, encode_all
from iapt.data.truncation import cuts
from iapt.entries import Once
from iapt.evaluation import encode_to_decode
from iapt.plan import Plan
from iapt.tasks.base import Split

SAMPLE = 200  # prompts of each split that are read to find their lengths
NO_TOKENIZER = "fetch the tokenizer first"
NO_DATA = "fetch the data first"


@dataclass(frozen=True)
class Prompts:
    """What a sample of the prompts shows.

    Attributes:
        length: mean tokens of a prompt after truncation.
        cut: share of the prompts that lose tokens, to leave room for the longest answer.
        answer: mean tokens of a training response, with its end token.
    """

    length: float
    cut: float
    answer: float


@dataclass(frozen=True)
class Workload:
    """The work of a run.

    Attributes:
        sizes: number of examples in each split.
        steps: planned optimizer steps; early stopping may end training before.
        batch_size: examples per optimizer step.
        evaluations: number of evaluations on dev, including the one before training.
        prompts: what the prompts show; None if they could not be read.
        unread: why they could not be read.
    """

    sizes: dict[Split, int]
    steps: int
    batch_size: int
    evaluations: int
    prompts: Prompts | None
    unread: str = ""


def workload(plan: Plan, tokenizer: Any | None) -> Workload:
    """Return the work of a planned run.

    Args:
        plan: the plan.
        tokenizer: the backbone's; None if it is not at hand.

    Raises:
        DataError: the sizes of its data are unknown before they are fetched, or the data lack a split.
    """
    sizes, hparams = plan.sizes(), plan.hparams
    train, batch_size = sizes["train"], hparams.batch_size_for(sizes["train"])
    steps = hparams.steps_for(train)
    every = min(hparams.eval_every, -(-train // batch_size))
    prompts, unread = None, ""
    if tokenizer is None:
        unread = NO_TOKENIZER
    elif not plan.at_hand():
        unread = NO_DATA
    else:
        prompts = _read(plan, tokenizer)
    return Workload(sizes, steps, batch_size, 1 + -(-steps // every), prompts, unread)


class Workloads:
    """The workloads of a grid's cells, many of which share prompts and a tokenizer."""

    def __init__(self, tokenizer: Callable[[Any], Any | None] = tokenizer_at_hand) -> None:
        self._tokenizer, self._once = tokenizer, Once()

    def __call__(self, plan: Plan) -> Workload:
        """Return the work of a planned run; see `workload`."""
        backbone = plan.backbone
        tokenizer = self._once(partial(self._tokenizer, backbone), "tokenizer", backbone)
        where = (id(plan.task), id(plan.source), plan.config["limit"])
        key = (*where, backbone, plan.hparams, plan.max_length)
        return self._once(partial(workload, plan, tokenizer), *key)


def sample_to_learn(plan: Plan, split: Split, tokens: Tokens, most: int) -> list[Encoded]:
    """Return the tokens of a sample of a split, instructions with responses: those that fit, or all if none does."""
    examples = limited(plan.examples()[split], most)
    rendered = [render(e, plan.task.template, tokens.template) for e in examples]
    found = encode_all(rendered, tokens.tokenizer, tokens.max_length, tokens.bos)
    return [e for e in found if e.fits] or found


def _read(plan: Plan, tokenizer: Any) -> Prompts:
    tokens = Tokens(tokenizer, plan.backbone.template, plan.backbone.bos, plan.max_length)
    examples = [e for part in plan.examples().values() for e in limited(part, SAMPLE)]
    encoded = encode_to_decode(plan.task.template, examples, tokens, plan.task.max_new_tokens)
    learnt = sample_to_learn(plan, "train", tokens, SAMPLE)
    return Prompts(
        sum(map(len, encoded)) / len(encoded),
        cuts(encoded) / len(encoded),
        sum(len(e.response) for e in learnt) / len(learnt),
    )
