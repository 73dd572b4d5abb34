from statistics import fmean

import pytest

from iapt.reporting.render import markdown
from iapt.reporting.summary import NOT_PAPER, sections, summary
from iapt.results.cells import collect
from iapt.results.statistics import sign_flip
from tests.results.example_items import answered
from tests.results.example_rows import a_row, bare, five

QUICK = {"backbone": "smollm2_135m", "hparams": "quick", "data": "sample", "setting": "9uick000"}


def test_every_setting_has_its_own_section_titled_for_what_it_is() -> None:
    rows = five("boolq", "iapt", [70.0] * 5, **QUICK) + five("boolq", "lora", [86.0] * 2)
    found = sections(collect(rows)[0])
    assert [section.setting for section in found] == ["9uick000", "5e771116"]
    assert NOT_PAPER in found[0].title
    assert "the paper's setting" in found[1].title
    assert NOT_PAPER not in found[1].title


def test_a_limited_paper_run_is_not_called_the_papers_setting() -> None:
    section = sections(collect([a_row(config={"limit": {"test": 200, "dev": None}})])[0])[0]
    assert NOT_PAPER in section.title
    assert "limited to test 200" in section.title


def test_one_cell_that_was_run_otherwise_keeps_a_section_from_being_the_papers() -> None:
    rows = five("boolq", "lora", [86.0] * 5)
    rows += five("boolq", "iapt", [87.0] * 5, config={"hparams": {"lr": 0.001}})
    (section,) = sections(collect(rows)[0])
    assert NOT_PAPER in section.title


def test_medians_are_laid_out_methods_by_tasks_with_seeds_marked() -> None:
    rows = five("sst2", "lora", [90.0] * 5, **QUICK) + five("boolq", "lora", [70.0] * 2, **QUICK)
    rows += five("boolq", "iapt", [71.0] * 5, **QUICK)
    text = markdown(summary(rows, collect(rows)[0]))
    squeezed = " ".join(text.split())
    assert "| lora | 90.0 | 70.0 (2/5) |" in squeezed
    assert "| iapt | – | 71.0 |" in squeezed


def test_all_runs_of_all_tasks_are_aggregated_for_complete_methods_only() -> None:
    rows = []
    for task in ("sst2", "boolq"):
        for method in ("lora", "iapt"):
            rows += five(task, method, [80.0, 81.0, 82.0, 83.0, 84.0], **QUICK)
    rows += five("boolq", "lpt", [80.0] * 5, **QUICK)
    overall = summary(rows, collect(rows)[0]).grids[-1]
    assert [(line[0], line[1], line[2]) for line in overall.lines] == [
        ("lora", "10", "82.00"),
        ("iapt", "10", "82.00"),
    ]


def test_the_aggregate_leaves_out_the_lowest_and_the_highest_quarter() -> None:
    rows = []
    for task, scores in (("sst2", [10.0, 80.0, 82.0, 83.0]), ("boolq", [70.0, 84.0, 85.0, 86.0])):
        for method in ("lora", "iapt"):
            rows += five(task, method, scores, **QUICK)
    overall = summary(rows, collect(rows)[0]).grids[-1]
    middle = fmean([80.0, 82.0, 83.0, 84.0])
    assert [line[2] for line in overall.lines] == [f"{middle:.2f}"] * 2


def test_a_method_that_cannot_be_compared_on_one_task_has_no_difference_over_all() -> None:
    rows = []
    for task in ("sst2", "boolq"):
        rows += five(task, "lora", [80.0, 81.0, 82.0], **QUICK)
        facts = {"facts": {"dtype": "float16"}} if task == "boolq" else {}
        rows += five(task, "iapt", [85.0, 86.5, 84.0], **facts, **QUICK)
    overall = summary(rows, collect(rows)[0]).grids[-1]
    lines = {line[0]: line for line in overall.lines}
    assert lines["iapt"][4:] == ["–", "–"]


@pytest.mark.parametrize(
    ("limit", "paper"), [({"test": None, "dev": None}, True), ({"test": 200, "dev": None}, False)]
)
def test_the_csv_says_whether_a_run_is_the_papers_not_only_its_preset(
    limit: dict[str, int | None], paper: bool
) -> None:
    rows = [a_row(config={"limit": limit})]
    (record,) = summary(rows, collect(rows)[0]).records
    assert (record["hparams"], record["paper_setting"]) == ("paper", paper)


def test_runs_of_all_tasks_are_tested_together_by_flipping_their_signs() -> None:
    rows = []
    for task, ours in (("sst2", [81.0, 82.5, 82.0, 84.0, 85.0]), ("boolq", [81.0] * 5)):
        rows += five(task, "lora", [80.0, 81.0, 82.0, 83.0, 84.0], **QUICK)
        rows += five(task, "iapt", ours, **QUICK)
    overall = summary(rows, collect(rows)[0]).grids[-1]
    lines = {line[0]: line for line in overall.lines}
    apart = [1.0, 1.5, 0.0, 1.0, 1.0, 1.0, 0.0, -1.0, -2.0, -3.0]
    assert lines["iapt"][4] == f"{fmean(apart):+.2f}"
    found = sign_flip(apart)
    assert lines["iapt"][5] == f"{found:.2g}"
    assert lines["lora"][4:] == ["–", "–"]


def test_a_section_is_one_family_of_comparisons() -> None:
    rows = answered("lora", 0.7, **QUICK) + answered("iapt", 0.8, number=1, **QUICK)
    rows += answered("lpt", 0.72, number=2, **QUICK)
    document = summary(rows, collect(rows)[0])
    found = {record["method"]: record for record in document.records}
    assert found["iapt"]["p_holm"] == 2 * found["iapt"]["p"]
    assert any(note.startswith("Smallest detectable difference") for note in document.notes)


def test_two_number_sets_of_one_method_are_shown_side_by_side_never_averaged() -> None:
    rows = five("boolq", "lora", [70.0] * 5, numbers={"rank": 4}, **QUICK)
    rows += five("boolq", "lora", [80.0] * 5, numbers={"rank": 8}, **QUICK)
    cells, messages = collect(rows)
    text = markdown(summary(rows, cells, messages))
    assert "70.0 ; 80.0" in text or "80.0 ; 70.0" in text
    assert "75.0" not in text
    assert "method.rank=8" in text


def test_rows_without_optional_keys_and_no_rows_at_all_are_fine() -> None:
    row = bare(a_row())
    assert "| – " in markdown(summary([row], collect([row])[0]))
    assert "No rows yet" in markdown(summary([], []))


def test_a_hostile_name_stays_text() -> None:
    rows = [a_row(method="x|y\n# z<script>", run_id="r", **QUICK)]
    text = markdown(summary(rows, collect(rows)[0]))
    assert "<script>" not in text
    assert "\n# z" not in text
