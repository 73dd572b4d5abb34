import re

import pytest

from iapt.reporting import ledger as module
from iapt.reporting.choose import Scope
from iapt.reporting.ledger import AVERAGE, disagreements, in_several, ledger, printed
from iapt.reporting.render import Grid, csv_text, markdown
from iapt.reporting.scale import settle
from iapt.reporting.spec import load, load_table
from iapt.reporting.verdicts import claims_document


def line(grid: Grid, *start: str) -> list[str]:
    return next(list(x) for x in grid.lines if tuple(x[: len(start)]) == start)


def test_the_three_papers_print_three_figures_for_lora_on_boolq() -> None:
    found = line(in_several(), "BoolQ", "LoRA")
    assert found[2:] == ["86.7 (10.0M)", "87.3 (20.0M)", "68.8 (80.0M)", "18.5"]


def test_the_papers_that_have_both_disagree_on_which_is_ahead() -> None:
    grid = disagreements()
    assert list(grid.head) == ["Task", "IAPT's paper", "MiLoRA", "Papers"]
    assert line(grid, "BoolQ")[1:] == ["+0.8", "-1.0", "disagree"]
    assert line(grid, "RTE")[1:] == ["+1.3", "–", "one paper"]
    assert line(grid, "Tasks on which IAPT is ahead")[1:] == ["10 of 10", "0 of 7", ""]


def test_papers_with_the_same_order_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(paper: str) -> dict[str, float]:
        return {"boolq": 0.2} if paper == "ALoRA" else {"boolq": 1.0} if "IAPT" in paper else {}

    monkeypatch.setattr(module, "_leads", other)
    assert line(disagreements(), "BoolQ")[1:] == ["+1.0", "+0.2", "agree"]


@pytest.mark.parametrize(("other", "word"), [(0.0, "agree"), (-1.0, "disagree"), (1.0, "disagree")])
def test_equal_figures_agree_with_equal_figures_alone(
    other: float, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = {"IAPT's paper": {"boolq": 0.0}, "MiLoRA": {"boolq": other}}
    monkeypatch.setattr(module, "_leads", lambda paper: leads.get(paper, {}))
    assert line(disagreements(), "BoolQ")[-1] == word


def test_a_method_is_not_ahead_where_the_two_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    leads = {"IAPT's paper": {"boolq": 0.0, "rte": 0.4}, "MiLoRA": {"boolq": 0.0}}
    monkeypatch.setattr(module, "_leads", lambda paper: leads.get(paper, {}))
    grid = disagreements()
    assert line(grid, "BoolQ")[1:3] == ["+0.0", "+0.0"]
    assert line(grid, "Tasks on which IAPT is ahead")[1:] == ["1 of 2", "0 of 1", ""]


def test_the_papers_own_figures_are_those_of_its_tables() -> None:
    table = load_table("table1")
    own = {(p.method, p.task): p.value for p in printed() if p.paper == "IAPT's paper"}
    for block in table.blocks:
        for one in (x for x in block.lines if not x.repeats):
            assert [own[one.method, column.task] for column in table.columns] == list(one.values)


def test_a_printed_average_is_that_of_the_printed_values() -> None:
    checked = 0
    for paper in load("ledger")["papers"]:
        for one in paper["lines"]:
            if "values" in one and AVERAGE in one:
                assert abs(sum(one["values"]) / len(one["values"]) - one[AVERAGE]) <= 0.05 + 1e-9
                checked += 1
    assert checked == 2


def test_figures_that_a_split_cannot_give_are_marked_where_its_size_is_known() -> None:
    notes = ledger().notes
    (aqua,) = [note for note in notes if "AQuA" in note]
    assert aqua.endswith("254 test rows: 13.6 (IAPT), 16.6 (LoRA).")
    unknown = [p for p in printed() if p.task == "arc_c"]
    assert [p.possible for p in unknown] == [None, None]


@pytest.mark.parametrize(("task", "sizes"), [("copa", [50]), ("rte", [138, 139])])
def test_the_papers_own_figures_are_marked_where_its_split_cannot_give_them(
    task: str, sizes: list[int]
) -> None:
    own = [p for p in printed() if (p.paper, p.task) == ("IAPT's paper", task)]
    can_be = {round(100 * right / n, 1) for n in sizes for right in range(n + 1)}
    assert {p.method for p in own if "†" in p.text} == {
        p.method for p in own if p.value not in can_be
    }
    assert any("†" in p.text for p in own)


def test_every_figure_has_its_source_and_setting() -> None:
    records = ledger().records
    assert len(records) == len(printed())
    assert all(record["source"] and record["setting"] for record in records)
    assert csv_text(ledger()).count("\n") == len(records) + 1


def test_the_claims_of_the_papers_setting_show_it_and_those_of_a_small_one_do_not() -> None:
    assert re.search(r"BoolQ +\| LoRA +\| 86.7", markdown(claims_document([])))
    small = claims_document([], settle(Scope.called("small"), []))
    assert "86.7" not in markdown(small)
