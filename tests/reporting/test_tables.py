import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iapt.reporting.choose import Scope
from iapt.reporting.other_tables import efficiency_table, sizes_table
from iapt.reporting.render import Document, Entry, markdown
from iapt.reporting.tables import SCORE_TABLES, score_table
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import CONFIG, a_row, bare, five


def build(rows: Sequence[Row], name: str = "table1", **scope: str) -> Document:
    return score_table(name, rows, collect(rows)[0], Scope(**scope))


def entry(document: Document, label: str, column: str) -> Entry:
    grid = document.grids[0]
    k = next(i for i, head in enumerate(grid.head) if head.startswith(column))
    line = next(line for line in grid.lines if not isinstance(line, str) and line[0] == label)
    found = line[k]
    assert isinstance(found, Entry)
    return found


@pytest.mark.parametrize("name", SCORE_TABLES)
def test_without_rows_every_entry_is_a_dash_beside_the_papers_value(name: str) -> None:
    document = build([], name)
    entries = [
        e
        for line in document.grids[0].lines
        if not isinstance(line, str)
        for e in line
        if isinstance(e, Entry)
    ]
    assert {e.text for e in entries} == {"–"}
    assert all(
        e.paper
        for line in document.grids[0].lines
        if not isinstance(line, str)
        for e in line[2:]
        if isinstance(e, Entry)
    )
    assert document.commands


def test_the_median_over_five_seeds_stands_beside_the_papers_value() -> None:
    document = build(five("boolq", "lora", [86.0, 90.0, 86.4, 86.6, 80.0]))
    assert entry(document, "LoRA", "BoolQ") == Entry("86.4", "", "86.7", "second")
    assert entry(document, "LoRA", "RTE").text == "–"
    assert entry(document, "LoRA", "Params") == Entry("9.99M", paper="10.0M")


def test_fewer_than_five_seeds_are_marked_and_never_ranked() -> None:
    rows = five("boolq", "lora", [86.0, 86.1, 86.2, 86.3, 86.4])
    rows += five("boolq", "adalora", [85.0, 85.1, 85.2, 85.3, 85.4])
    rows += five("boolq", "iapt", [99.0, 99.0, 99.0])
    document = build(rows)
    assert entry(document, "IAPT (as described)", "BoolQ").text == "99.0 (3/5)"
    assert entry(document, "IAPT (as described)", "BoolQ").mark == ""
    assert entry(document, "LoRA", "BoolQ").mark == "best"
    assert entry(document, "AdaLoRA", "BoolQ").mark == "second"


def test_equal_medians_share_a_mark() -> None:
    rows = five("boolq", "lora", [86.01] * 5) + five("boolq", "adalora", [86.04] * 5)
    document = build(rows + five("boolq", "lpt", [80.0] * 5))
    marks = [entry(document, label, "BoolQ").mark for label in ("LoRA", "AdaLoRA", "LPT")]
    assert marks == ["best", "best", "second"]


@pytest.mark.parametrize(
    "change",
    [
        {"hparams": "quick"},
        {"data": "sample"},
        {"data": "folder:data"},
        {"backbone": "smollm2_135m"},
        {"config": {"limit": {"train": 100}}},
        {"config": {"hparams": {"lr": 0.001}}},
        {"config": {"method": {"rank": 8}}},
        {"variant": "mine"},
    ],
)
def test_a_row_of_another_setting_never_enters_a_paper_table(change: dict[str, Any]) -> None:
    document = build(five("boolq", "lora", [99.9] * 5, **change))
    assert "99.9" not in markdown(document)
    assert "0 of 5 rows read are in this table; the other 5" in document.notes[-1]
    assert "iapt-table summary" in document.notes[-1]


def test_a_row_called_paper_but_run_otherwise_is_named() -> None:
    config = {**CONFIG, "hparams": {"lr": 0.001, "max_steps": 40}}
    document = build(five("boolq", "lora", [99.9] * 5, config=config))
    note = next(note for note in document.notes if note.startswith("Left out"))
    assert "hparams.lr=0.001, not 0.0001" in note
    assert "hparams.max_steps=40, not None" in note


def test_settings_are_never_mixed_and_the_smaller_one_is_named() -> None:
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "iapt", [99.0] * 3, setting="0ther000")
    document = build(rows)
    assert entry(document, "IAPT (as described)", "BoolQ").text == "–"
    assert any("0ther000" in note and note.startswith("Left out") for note in document.notes)
    chosen = build(rows, setting="0ther")
    assert entry(chosen, "IAPT (as described)", "BoolQ").text == "99.0 (3/5)"
    assert entry(chosen, "LoRA", "BoolQ").text == "–"


def test_one_table_has_one_setting_on_all_its_tasks() -> None:
    rows = five("boolq", "lora", [86.0] * 5) + five("sst2", "lora", [99.0] * 3, setting="0ther000")
    document = build(rows)
    assert entry(document, "LoRA", "BoolQ").text == "86.0"
    assert entry(document, "LoRA", "SST-2").text == "–"
    assert any("Left out: sst2" in note for note in document.notes)


def test_methods_decoded_differently_do_not_stand_in_one_column() -> None:
    greedy = {"num_beams": 1, "max_new_tokens": 4}
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "lpt", [85.0] * 4, decoding=greedy)
    document = build(rows)
    assert entry(document, "LPT", "BoolQ").text == "–"
    assert any("decoding.num_beams=1" in note for note in document.notes)


def test_values_that_the_split_cannot_give_are_flagged() -> None:
    document = build([])
    assert entry(document, "LoRA", "COPA").paper == "90.7†"
    assert entry(document, "LoRA", "RTE").paper == "82.6"
    assert entry(document, "AdaLoRA", "RTE").paper == "82.9†"
    assert any(note.startswith("† COPA: 14 of the paper's 14 values") for note in document.notes)
    rte = next(note for note in document.notes if note.startswith("† RTE"))
    assert "4 fit 138 and 4 fit 139" in rte


def test_the_command_names_exactly_what_is_missing() -> None:
    rows = five("e2e", "lora", [70.0] * 5) + five("gsm8k", "lora", [35.0] * 5)
    rows += five("wikisql", "lora", [85.0] * 4)
    for task in ("e2e", "gsm8k", "wikisql"):
        rows += five(task, "lpt", [50.0] * 5) + five(task, "iapt_8m", [50.0] * 5)
    for row in [r for r in rows if r.cell.task == "e2e"]:
        row.scores.details["rouge-l"] = 70.0
    assert build(rows, "table2").commands == [
        "iapt-sweep +experiment=paper task=wikisql method=lora",
        "iapt-sweep +experiment=paper task=e2e,gsm8k,wikisql method=adalora,iapt",
    ]


def test_commands_select_variants_and_backbones() -> None:
    five_commands = build([], "table5").commands
    assert five_commands[0] == "iapt-sweep +experiment=paper task=boolq,e2e,squad method=iapt"
    assert five_commands[1].endswith(
        "method=iapt variant=iapt_1,iapt_2,iapt_3,iapt_4,iapt_5,iapt_6,iapt_7"
    )
    assert [c.split()[2] for c in build([], "table8").commands] == [
        "backbone=gpt2_large",
        "backbone=pythia_1b4",
    ]


def test_nothing_is_missing_from_a_full_table() -> None:
    rows = []
    for method in ("lpt", "lora", "adalora", "iapt", "iapt_8m"):
        for task in ("gsm8k", "wikisql"):
            rows += five(task, method, [50.0] * 5)
        scores = {"metric": "rouge-l", "value": 70.0, "n": 80, "n_unparsed": 0}
        rows += five("e2e", method, [0.0] * 5, scores=scores)
    assert build(rows, "table2").commands == []


def test_details_compare_with_lora_and_state_the_floor_of_p() -> None:
    rows = five("boolq", "lora", [86.0] * 5, numbers={"rank": 4})
    rows += five("boolq", "iapt", [87.0, 87.5, 88.0, 87.2, 86.9], variant="iapt_1")
    document = build(
        rows, "table5"
    )  # LoRA is in no line of Table 5 and is compared with all the same
    detail = document.grids[1].lines[0]
    assert list(detail[2:5]) == ["5", "87.2", "87.23"]
    assert list(detail[6:]) == ["+1.2", "0.0625 (0.0625)"]


def test_each_record_carries_its_runs() -> None:
    rows = five("boolq", "lora", [86.0, 86.1])
    record = next(r for r in build(rows).records if r["method"] == "lora" and r["task"] == "boolq")
    assert record["run_ids"] == " ".join(row.run_id for row in rows)
    assert (record["n_seeds"], record["missing_seeds"]) == (2, "2 3 4")


def test_rows_without_optional_keys_show_dashes() -> None:
    document = build([bare(a_row("boolq", "lora"))])
    assert entry(document, "LoRA", "BoolQ").text == "87.5 (1/5)"
    assert entry(document, "LoRA", "Params").text == "–"


def test_table_4_shows_the_papers_values_and_dashes(tmp_path: Path) -> None:
    document = efficiency_table(tmp_path / "absent.json")
    assert "| LoRA   | 1         | – [25.1]" in markdown(document)
    assert document.commands


def test_table_4_takes_a_measurement_of_the_papers_lengths_on_a_gpu_only(tmp_path: Path) -> None:
    row = {"what": "iapt", "num_beams": 3, "tokens_per_second": 31.25, "peak_mib": 15001.2}
    decode = {"device": "cuda", "instruction_tokens": 274, "new_tokens": 32, "rows": [row]}
    path = tmp_path / "llama2_7b.json"
    path.write_text(json.dumps({"decode": decode}))
    document = efficiency_table(path)
    assert "| 31.2 [27.9]" in markdown(document)
    assert "| 15001 [15946]" in markdown(document)
    assert not document.commands
    for report in (
        {"decode": decode | {"device": "cpu"}},
        {"decode": decode | {"new_tokens": 8}},
        {"decode": {**decode, "rows": [{}]}},
        {"train": {}},
        [],
    ):
        path.write_text(json.dumps(report))
        document = efficiency_table(path)
        assert "31.2" not in markdown(document)
        assert str(path) in document.notes[-1]
    path.write_text("{")
    assert "not a file of iapt-bench" in efficiency_table(path).notes[-1]


BOOLQ = {"boolq": ({"train": 9427, "dev": 1635, "test": 1635}, "halves of validation")}


def test_table_6_has_the_sizes_that_the_rules_make_without_any_run() -> None:
    document = sizes_table([], BOOLQ)
    text = markdown(document)
    assert "| 9,427 [9.4k] | 1,635 [1.6k] | 1,635 [1.6k] | halves of validation |" in text
    assert "| – [2.5k] " in text
    assert document.records[0]["train"] == 9427
    assert len(document.grids) == 1


def test_table_6_names_a_hub_run_of_other_sizes_and_lists_other_data() -> None:
    same, limited = a_row("boolq"), a_row("boolq", seed=1, config={"limit": {"train": 9}})
    folder = a_row("boolq", data="folder:mine", setting="f01de400")
    cells = collect([same, limited, folder])[0]
    document = sizes_table(cells, BOOLQ)
    assert document.grids[1].lines == [["BoolQ", "folder:mine", "9,427", "1,635", "1,635"]]
    assert not any("a run on hub data" in note for note in document.notes)

    other = {"boolq": ({"train": 9, "dev": 1635, "test": 1635}, "")}
    (note,) = [n for n in sizes_table(cells, other).notes if "a run on hub data" in n]
    assert "9,427 / 1,635 / 1,635 rows, the rules make 9 / 1,635 / 1,635" in note


def test_table_3_takes_the_judges_score_and_rouge_l_of_the_first_turns() -> None:
    def judged(seed: int, **details: float) -> Row:
        scores = {"metric": "rouge-l", "value": 40.0, "n": 160, "n_unparsed": 0, "details": details}
        return a_row("alpaca", "adalora", seed, scores=scores)

    rows = [judged(seed, **{"gpt-4": 6.5, "rouge_l_turn_1": 51.5}) for seed in range(4)]
    rows.append(judged(4, judge=9.9, rouge_l_turn_1=51.5))  # another judge
    text = markdown(score_table("table3", rows, collect(rows)[0]))
    line = next(line for line in text.splitlines() if line.startswith("| AdaLoRA"))
    assert "6.50 (4/5) [<u>6.95</u>]" in line
    assert "51.5 [<u>51.1</u>]" in line
