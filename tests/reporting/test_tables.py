from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from iapt.reporting import places
from iapt.reporting.choose import Scope
from iapt.reporting.render import Document, Entry, markdown
from iapt.reporting.spec import SCORE_TABLES, Line, load_table
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_items import answered
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
    ],
)
def test_a_row_of_another_setting_never_enters_a_paper_table(change: dict[str, Any]) -> None:
    document = build(five("boolq", "lora", [99.9] * 5, **change))
    assert "99.9" not in markdown(document)
    assert "0 of 5 rows read are in this table." in document.notes[-1]
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


def test_of_two_settings_with_as_many_rows_the_newer_one_is_shown() -> None:
    old = five("boolq", "lora", [86.0] * 5, setting="01d00000", created="2026-01-01T00:00:00Z")
    new = five("boolq", "lora", [88.0] * 5, setting="2e300000", created="2026-02-01T00:00:00Z")
    for rows in (old + new, new + old):
        assert entry(build(rows), "LoRA", "BoolQ").text == "88.0"


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


def test_whether_a_value_is_attainable_is_unknown_without_the_size_of_the_split() -> None:
    records = build([], "table2").records
    known = {r["task"]: r["paper_attainable"] for r in records if r["method"] == "lora"}
    assert known["e2e"] is None
    assert known["gsm8k"] is not None


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
    plain = "iapt-sweep +experiment=paper task=boolq,e2e,squad method=iapt,iapt_8m"
    assert five_commands[0] == plain
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


@pytest.mark.parametrize(
    ("table", "other", "variant", "baseline"),
    [
        ("table1", "adalora", "", "LoRA"),
        ("table5", "iapt", "iapt_1", "IAPT"),
        ("table7", "iapt", "iapt_gelu", "IAPT"),
    ],
)
def test_details_compare_with_the_tables_baseline_over_seeds_without_items(
    table: str, other: str, variant: str, baseline: str
) -> None:
    method = baseline.lower()
    rows = five("boolq", method, [86.0] * 5)
    if method != "lora":  # which variants of IAPT are not compared with
        rows += five("boolq", "lora", [80.0] * 5)
    rows += five("boolq", other, [87.0, 87.5, 88.0, 87.2, 86.9], variant=variant)
    document = build(rows, table)
    heads = document.details[0].head
    found = [dict(zip(heads, line, strict=True)) for line in document.details[0].lines]
    (own,) = (line for line in found if line["Method"] == baseline)
    (detail,) = (line for line in found if line["Median"] == "87.2")
    assert own[f"Minus {baseline}"] == "–"
    assert (detail["Seeds"], detail["Mean"]) == ("5", "87.32")
    assert detail[f"Minus {baseline}"] == "+1.3"
    assert any(f"comparisons with {baseline} in this table" in note for note in document.notes)
    assert {r["baseline"] for r in document.records} == {None, baseline}
    test = stats.ttest_1samp([1.0, 1.5, 2.0, 1.2, 0.9], 0)
    low, high = test.confidence_interval()
    assert detail["95 % interval of that"] == f"{low:+.2f} to {high:+.2f}"
    assert detail["p"] == detail["p (Holm)"] == f"{test.pvalue:.2g}"
    assert detail["Compared over"] == "5 seeds, without per-item scores"


def test_details_compare_item_by_item_and_holm_counts_the_comparisons_of_the_table() -> None:
    rows = answered("lora", 0.7)
    rows += answered("houlsby", 0.8, number=1) + answered("lpt", 0.72, number=2)
    document = build(rows)
    detail = [
        dict(zip(document.details[0].head, x, strict=True)) for x in document.details[0].lines
    ]
    assert {line["Compared over"] for line in detail} == {"5 seeds x 200 items", "–"}
    records = {r["method"]: r for r in document.records if r["task"] == "boolq"}
    assert records["lora"]["p_holm"] is None
    assert records["houlsby"]["p_holm"] == pytest.approx(2 * records["houlsby"]["p"])
    (note,) = [note for note in document.notes if note.startswith("Smallest detectable")]
    sizes = sorted(records[m]["detectable"] for m in ("houlsby", "lpt"))
    assert f"{sizes[0]:.1f} to {sizes[1]:.1f} points" in note


def test_trained_parameters_that_are_not_lora_s_are_marked() -> None:
    rows = five("boolq", "lora", [86.0, 86.1], params={"trained": 1000})
    rows += five("boolq", "lpt", [85.0, 85.0], params={"trained": 1090})
    rows += five("boolq", "iapt", [87.0, 87.0], params={"trained": 1110})
    document = build(rows)
    assert entry(document, "LPT", "Params").text == "1.1k"
    assert entry(document, "IAPT (as described)", "Params").text == "1.1k §"
    assert any(note.startswith("§: trained parameters more than 10 %") for note in document.notes)
    equal = build([row for row in rows if row.cell.method != "iapt"])
    assert not any("§" in note for note in equal.notes)


def test_each_record_carries_its_runs() -> None:
    rows = five("boolq", "lora", [86.0, 86.1])
    record = next(r for r in build(rows).records if r["method"] == "lora" and r["task"] == "boolq")
    assert record["run_ids"] == " ".join(row.run_id for row in rows)
    assert (record["n_seeds"], record["missing_seeds"]) == (2, "2 3 4")


def test_rows_without_optional_keys_show_dashes() -> None:
    document = build([bare(a_row("boolq", "lora"))])
    assert entry(document, "LoRA", "BoolQ").text == "87.5 (1/5)"
    assert entry(document, "LoRA", "Params").text == "–"


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


def headings(document: Document) -> list[str]:
    return [line for line in document.grids[0].lines if isinstance(line, str)]


def test_a_method_that_the_paper_does_not_have_stands_last_and_is_marked() -> None:
    rows = five("boolq", "my_new", [91.0] * 5) + five("boolq", "lora", [86.0] * 5)
    document = build(rows)
    assert headings(document)[-1] == "Not in the paper"
    assert document.grids[0].lines[-1][0] == "my_new"
    assert entry(document, "my_new", "BoolQ") == Entry("91.0", "best", "–")
    assert entry(document, "my_new", "RTE") == Entry("–", "", "–")
    assert entry(document, "my_new", "Params") == Entry("9.99M", paper="–")
    assert entry(document, "LoRA", "BoolQ").mark == "second"
    record = next(r for r in document.records if r["method"] == "my_new" and r["task"] == "boolq")
    assert (record["in_paper"], record["paper"], record["median"]) == (False, None, 91.0)
    minus = document.details[0].head.index("Minus LoRA")
    assert any(line[1] == "my_new" and line[minus] == "+5.0" for line in document.details[0].lines)
    assert "10 rows read, all of them" in document.notes[-1]
    assert not any("my_new" in command for command in document.commands)


def test_a_variant_that_the_paper_does_not_have_stands_beside_it() -> None:
    rows = five("boolq", "lora", [99.9] * 5, variant="mine")
    rows += five("boolq", "iapt", [80.0] * 5, variant="iapt_1")  # a line of Table 5
    document = build(rows)
    assert entry(document, "lora/mine", "BoolQ").text == "99.9"
    assert entry(document, "LoRA", "BoolQ").text == "–"
    assert "80.0" not in markdown(document)
    assert entry(build(rows, "table5"), "lora/mine", "BoolQ").text == "99.9"


@pytest.mark.parametrize(
    "change",
    [
        {"hparams": "quick"},
        {"data": "folder:data"},
        {"backbone": "smollm2_135m"},
        {"config": {"limit": {"test": 100}}},
        {"config": {"hparams": {"lr": 0.001}}},
        {"decoding": {"num_beams": 1, "max_new_tokens": 4}},
        {"setting": "0ther000"},
    ],
)
def test_another_method_enters_under_the_same_rules(change: dict[str, Any]) -> None:
    rows = five("boolq", "my_new", [99.9] * 4, **change) + five("boolq", "lora", [86.0] * 5)
    document = build(rows)
    assert "99.9" not in markdown(document)
    assert "Not in the paper" not in headings(document)


def test_another_method_called_paper_but_run_otherwise_is_named() -> None:
    config = {**CONFIG, "hparams": {"lr": 0.001}}
    note = build(five("boolq", "my_new", [99.9] * 5, config=config)).notes[0]
    assert note.startswith("Left out: boolq llama2_7b my_new paper hub, 5 rows (hparams.lr=0.001")


def test_each_backbone_of_table_8_has_its_own_others() -> None:
    rows = five("boolq", "my_new", [70.0] * 5, backbone="pythia_1b4")
    document = build(rows, "table8")
    assert headings(document) == ["GPT-2 large", "Pythia-1.4B", "Pythia-1.4B: Not in the paper"]
    best = [
        e
        for line in document.grids[0].lines
        for e in line
        if getattr(e, "paper_mark", "") == "best"
    ]
    assert len(best) == 12, "IAPT in both readings, for either backbone and three tasks"


def test_what_is_left_out_is_told_by_the_settings_not_by_another_methods_numbers() -> None:
    greedy = {"num_beams": 1, "max_new_tokens": 4}
    rows = five("boolq", "houlsby", [86.0] * 5, numbers={"alpha": 16, "bottleneck": 8})
    rows += five("boolq", "lpt", [85.0] * 4, decoding=greedy)
    note = next(note for note in build(rows).notes if note.startswith("Left out"))
    assert "(decoding.num_beams=1)" in note
    assert "alpha" not in note


@pytest.mark.parametrize("name", ["table3", "table5", "table7", "table8"])
def test_the_reading_with_the_papers_own_count_has_a_line_too(name: str) -> None:
    table = load_table(name)
    lines = [line for block in table.blocks for line in block.lines]
    assert sum(line.repeats for line in lines) == len(table.blocks)


def test_a_baseline_that_no_line_has_is_compared_with_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = replace(load_table("table5"), baseline=load_table("table1").baseline)
    monkeypatch.setattr(places, "load_table", lambda name: other)
    rows = five("boolq", "lora", [86.0] * 5, numbers={"rank": 4})
    rows += five("boolq", "iapt", [87.0, 87.5, 88.0, 87.2, 86.9], variant="iapt_1")
    document = build(rows, "table5")
    detail = dict(zip(document.details[0].head, document.details[0].lines[0], strict=True))
    assert (detail["Seeds"], detail["Median"], detail["Mean"]) == ("5", "87.2", "87.32")
    assert detail["Minus LoRA"] == "+1.3"


def test_the_comparison_is_with_the_method_that_the_tables_file_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "Minus LoRA" in build(five("boolq", "lora", [86.0] * 5)).details[0].head
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "lpt", [84.0] * 5)
    other = replace(load_table("table1"), baseline=Line("LPT", "lpt"))
    monkeypatch.setattr(places, "load_table", lambda name: other)
    document = build(rows)
    assert "Minus LPT" in document.details[0].head
    detail = {line[1]: line for line in document.details[0].lines}
    assert detail["LoRA"][6] == "+2.0"
    assert detail["LPT"][6] == "–"


def test_rows_without_a_columns_score_leave_it_empty_and_are_asked_for_again() -> None:
    scores = {"metric": "rouge-l", "value": 40.0, "n": 160, "n_unparsed": 0, "details": {}}
    rows = five("alpaca", "adalora", [40.0] * 5, scores=scores)
    document = build(rows, "table3")
    assert entry(document, "AdaLoRA", "GPT-4 score").text == "–"
    assert document.details == []
    assert any("adalora" in command for command in document.commands)
