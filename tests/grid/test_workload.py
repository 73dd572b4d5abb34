"""The work of a run: as training counts it, and of each cell of a grid its own."""

import pytest

from iapt.cli.composing import composed as compose
from iapt.grid.blocks import combinations
from iapt.grid.cells import plan_cells
from iapt.grid.workload import Workload, Workloads, workload
from iapt.planning import make_plan
from tests.composed import composed

TINY = ("task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu")


@pytest.mark.parametrize(
    ("every", "evaluations"),
    [
        (1, 1 + 10),
        (3, 1 + 4),  # after steps 3, 6, 9 and the last
        (200, 1 + 3),  # an epoch has 4 steps
    ],
)
def test_dev_is_evaluated_before_training_as_often_as_asked_in_each_epoch_and_at_the_end(
    every: int, evaluations: int
):
    words = ("hparams.batch_size=4", "hparams.max_steps=10", f"hparams.eval_every={every}")
    work = workload(make_plan(composed(*TINY, *words, "limit.train=16")), None)
    assert (work.steps, work.batch_size, work.evaluations) == (10, 4, evaluations)


def works(key: str, *values: int) -> list[Workload]:
    """The work of each cell of a grid over one key."""
    axes = {key: [f"{key}={value}" for value in values]}
    fixed = {word.partition("=")[0]: [word] for word in TINY}
    cells = plan_cells(combinations(fixed | axes), compose)
    found = Workloads(lambda backbone: None)
    return [found(cell.plan) for cell in cells]


def test_each_limit_of_a_grid_has_its_own_sizes():
    assert [work.sizes["train"] for work in works("limit.train", 16, 32)] == [16, 32]


def test_each_number_of_training_of_a_grid_has_its_own_work():
    assert [work.steps for work in works("hparams.max_steps", 10, 20)] == [10, 20]
    assert [work.batch_size for work in works("hparams.batch_size", 4, 8)] == [4, 8]
