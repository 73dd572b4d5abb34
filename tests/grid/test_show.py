"""The plan of a grid as text."""

import os
from pathlib import Path

import pytest

from iapt.cli.composing import composed
from iapt.errors import ConfigError, DataError
from iapt.grid.blocks import combinations
from iapt.grid.cells import Cell, plan_cells
from iapt.grid.estimate import estimate
from iapt.grid.pace import progress_line
from iapt.grid.show import DONE, FAILED, counted, duration, mebibytes, plan_text
from iapt.grid.workload import NO_DATA, NO_TOKENIZER, Workload, Workloads, workload
from iapt.plan import Plan

TINY = {"backbone": ["backbone=tiny_llama"], "device": ["device=cpu"]}


def planned(**axes: str) -> list[Cell]:
    typed = {key: [f"{key}={v}" for v in values.split(",")] for key, values in axes.items()}
    return plan_cells(combinations(TINY | typed), composed)


def columns(text: str, task: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith(task)]


def test_cells_are_counted():
    states = [DONE, FAILED, "killed", ""]
    assert counted(states) == "4 cells: 1 done, 3 left (1 of them failed before)."
    assert counted([DONE]) == "1 cell: 1 done, 0 left."


def test_there_is_a_line_for_each_task_and_method_over_its_seeds():
    cells = planned(task="sst2,rte", method="lora,bitfit", seed="0,1")
    text = plan_text(cells, [DONE, *[""] * 7])
    assert text.startswith("8 cells: 1 done, 7 left.")
    assert "\ntask  method  done  train  dev  test  steps  trained  cut" in text, "without padding"
    lines = [*columns(text, "sst2"), *columns(text, "rte")]
    assert [line[:3] for line in lines] == [
        ["sst2", "lora", "1/2"],
        ["sst2", "bitfit", "0/2"],
        ["rte", "lora", "0/2"],
        ["rte", "bitfit", "0/2"],
    ]
    assert lines[0][3:8] == ["450", "50", "100", "36", f"{cells[0].plan.trainable:,}"]
    assert "~: by a formula" in text
    assert "Left: about" in text


def test_what_is_left_is_that_of_the_cells_not_finished_and_a_line_is_of_one_run(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("iapt.grid.estimate.product_speed", lambda device, dtype: 1e12)
    cells = planned(task="sst2", method="lora", backbone="llama2_7b", seed="0,1,2,3")
    text = plan_text(
        cells,
        [DONE, "", FAILED, ""],
        workload=lambda plan: workload(plan, None),
        measure=lambda plan, work: 25.0,
    )
    plan = cells[0].plan
    needs = estimate(plan, workload(plan, None))
    assert needs.disk_mib > 30
    (line,) = [line for line in text.splitlines() if line.startswith("sst2")]
    assert line.endswith("  " + mebibytes(needs.disk_mib + needs.checkpoint_mib))
    assert (
        f"Left: about 75 s if one run follows another on cpu, {mebibytes(3 * needs.disk_mib)} on disk, "
        f"{mebibytes(needs.memory_mib)} of memory at most."
    ) in text


def test_truncated_prompts_are_counted_with_the_tokenizer_alone():
    cells = planned(task="sst2", method="lora", **{"hparams.max_length": "100,400"}, seed="0")
    text = plan_text(cells, ["", ""])
    cut = [line[line.index("36") + 2 : line.index("36") + 4] for line in columns(text, "sst2")]
    assert cut == [["89", "%"], ["0", "%"]]  # of 350 sampled prompts


def test_a_length_that_no_prompt_fits_is_an_error_of_the_plan():
    cells = planned(task="sst2", method="lora", **{"hparams.max_length": "30"}, seed="0")
    with pytest.raises(ConfigError, match="tokens for the prompt, fewer than its templates need"):
        plan_text(cells, [""])


def test_without_the_tokenizer_the_plan_says_what_to_fetch():
    cells = planned(task="sst2", method="lora", seed="0")
    text = plan_text(cells, [""], workload=Workloads(lambda backbone: None))
    assert f"cut: a dash means not counted: {NO_TOKENIZER}." in text


def test_released_data_that_is_not_here_is_planned_from_its_sizes():
    cells = planned(task="boolq", method="lora", data="hub", seed="0")
    text = plan_text(cells, [""], workload=lambda plan: workload(plan, object()))
    assert columns(text, "boolq")[0][3:6] == ["9,427", "50", "200"]  # hparams=quick limits two
    assert f"not counted: {NO_DATA}" in text


def unless_sst2(plan: Plan) -> Workload:
    if plan.task.name == "sst2":
        raise DataError("task.sizes does not say")
    return workload(plan, None)


def test_data_of_unknown_size_that_are_yet_to_be_fetched_leave_their_columns_open():
    cells = planned(task="sst2,boolq", method="lora", data="hub", seed="0")
    text = plan_text(cells, ["", ""], workload=unless_sst2)
    assert columns(text, "sst2")[0].count("?") == 8
    assert "\n?: unknown. task.sizes does not say\n" in text
    assert "Left, besides what is unknown: about" in text
    alone = plan_text(cells[:1], [""], workload=unless_sst2)
    assert "Left" not in alone
    assert "\n.\n" not in alone


def test_data_at_hand_that_no_run_can_use_stop_the_plan():
    cells = planned(task="sst2", method="lora", seed="0")
    with pytest.raises(DataError, match=r"^task\.sizes does not say$"):
        plan_text(cells, [""], workload=unless_sst2)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(40, "40 s"), (720, "12 min"), (12_600, "3.5 h"), (90_000, "25 h"), (1e6, "12 d")],
)
def test_durations_have_a_fitting_unit(seconds: float, said: str):
    assert duration(seconds) == said


def test_sizes_have_a_fitting_unit():
    assert (mebibytes(12.3), mebibytes(3_584)) == ("12 MiB", "3.5 GiB")


def test_the_progress_line_counts_time_over_this_sweeps_cells_alone(tmp_path: Path):
    rows = [tmp_path / f"{k}.json" for k in range(6)]
    for row, moment in zip(rows[:3], (50, 130, 160), strict=True):
        row.write_text("{}")
        os.utime(row, (moment, moment))
    assert progress_line(3, rows, started=100, now=260) == (
        "cell 4 of 6 (3 done, 3 left, 80 s each, about 4 min left)"
    )
    assert progress_line(0, rows, started=500) == "cell 1 of 6 (3 done, 3 left)"
