from typing import Any

from iapt.reporting.latex import latex
from iapt.reporting.quantities import params_table, sizes_table
from iapt.reporting.render import csv_text, markdown
from iapt.reporting.spec import MAIN_BACKBONE, load_table
from iapt.results.cells import collect
from tests.results.example_rows import a_row, parse, raw_row


def fixed(n: int, reading: str = "2 × 5") -> dict[str, Any]:
    sizes = {field: [n, n] for field in ("trained", "stored", "active_at_decode")}
    return {"counted": n, "reading": reading, **sizes}


SETTLED = fixed(2000) | {"trained": [2000, 900], "stored": [2000, 901]}


def lines(counts: dict[str, dict[str, Any]], grid: int = 0) -> list[list[str]]:
    found = params_table(counts).grids[grid].lines
    return [[line] if isinstance(line, str) else [str(entry) for entry in line] for line in found]


def test_the_papers_column_stands_on_the_papers_backbone_alone() -> None:
    counts = {"abc": {"lora": fixed(10)}, MAIN_BACKBONE: {"lora": fixed(1_000)}}
    assert [grid.title for grid in params_table(counts).grids] == [MAIN_BACKBONE, "abc"]
    assert lines(counts) == [["LoRA", "10.0M", "1,000", "1,000", "1,000", "1,000", "2 × 5"]]
    assert lines(counts, 1) == [["LoRA", "–", "10", "10", "10", "10", "2 × 5"]]


def test_every_line_of_table_1_has_its_printed_value_in_its_order() -> None:
    printed = [line for block in load_table("table1").blocks for line in block.lines]
    counts = {MAIN_BACKBONE: {line.method: fixed(1) for line in reversed(printed)}}
    shown = [(line[0], line[1]) for line in lines(counts)]
    assert shown == [(line.label, f"{line.params:.1f}M") for line in printed]


def test_a_method_that_training_settles_has_a_second_line() -> None:
    assert lines({MAIN_BACKBONE: {"ssp": SETTLED}}) == [
        ["SSP", "8.6M", "2,000", "2,000", "2,000", "2,000", "2 × 5"],
        ["SSP, at the end", "", "", "900", "901", "2,000", ""],
    ]


def test_unknown_refused_and_silent_methods_are_shown_last_with_dashes() -> None:
    counts = {
        MAIN_BACKBONE: {
            "brand_new": {"refused": "method.rank=0: must be >= 1."},
            "another": fixed(3, reading=""),
            "lora": fixed(1),
        }
    }
    assert lines(counts)[0][0] == "LoRA"
    assert lines(counts)[1:] == [
        ["Not in the paper"],
        ["another", "–", "3", "3", "3", "3", "–"],
        ["brand_new", *["–"] * 5, "method.rank=0: must be >= 1."],
    ]


def test_the_three_outputs_hold_all_numbers() -> None:
    refused = {"refused": "no"}
    document = params_table({MAIN_BACKBONE: {"ssp": SETTLED, "x": refused}, "b": {"x": refused}})
    head, first, *others = csv_text(document).splitlines()
    assert head.startswith("table,backbone,method,paper_millions,counted,trained_initial,")
    assert first == f"params,{MAIN_BACKBONE},ssp,8.6,2000,2000,900,2000,901,2000,2000,2 × 5"
    assert [line.count(",") for line in others] == [head.count(",")] * 2
    assert "| 900 " in markdown(document)
    assert r"2 $\times$ 5" in latex(document)


BOOLQ = {"boolq": ({"train": 9427, "dev": 1635, "test": 1635}, "halves of validation")}


def test_table_6_has_the_sizes_that_the_rules_make_without_any_run() -> None:
    document = sizes_table([], BOOLQ)
    text = markdown(document)
    assert "| 9,427 [9.4k] | 1,635 [1.6k] | 1,635 [1.6k] | halves of validation |" in text
    assert "| – [2.5k] " in text
    assert document.records[0]["train"] == 9427
    assert len(document.grids) == 1


def test_table_6_names_a_hub_run_of_other_sizes_and_lists_other_data() -> None:
    cut = {"fingerprint": "f00d", "sizes": {"train": 9, "dev": 1635, "test": 1635}}
    same = a_row("boolq")
    limited = parse(raw_row("boolq", seed=1, config={"limit": {"train": 9}}) | {"data": cut})
    folder = a_row("boolq", data="folder:mine", setting="f01de400")
    cells = collect([same, limited, folder])[0]
    document = sizes_table(cells, BOOLQ)
    assert document.grids[1].lines == [["BoolQ", "folder:mine", "9,427", "1,635", "1,635"]]
    assert not any("a run on hub data" in note for note in document.notes)

    other = {"boolq": ({"train": 9, "dev": 1635, "test": 1635}, "")}
    (note,) = [n for n in sizes_table(cells, other).notes if "a run on hub data" in n]
    assert "9,427 / 1,635 / 1,635 rows, the rules make 9 / 1,635 / 1,635" in note
