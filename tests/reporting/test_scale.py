from collections.abc import Sequence
from typing import Any

from iapt.reporting.choose import Scope
from iapt.reporting.render import Document, Entry, markdown
from iapt.reporting.scale import scale_of, settle
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import CONFIG, five

SMALL: dict[str, Any] = {"backbone": "smollm2_135m", "hparams": "tuned", "data": "folder:data"}
MODEL = {"checkpoint": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def config(fingerprint: str, **hparams: Any) -> dict[str, Any]:
    return CONFIG | {"data_fingerprint": fingerprint, "hparams": {"batch_size": 8, **hparams}}


def build(rows: Sequence[Row], name: str = "table1", **names: str) -> Document:
    cells = collect(rows)[0]
    return score_table(name, rows, cells, settle(Scope.called("small", **names), cells))


def texts(document: Document, label: str) -> list[str]:
    line = next(line for line in document.grids[0].lines if line[0] == label)
    return [entry.text for entry in line[1:] if isinstance(entry, Entry)]


def test_small_rows_stand_in_the_papers_layout_without_one_of_its_values() -> None:
    scores = {"metric": "acc", "value": 81.0, "n": 250, "n_unparsed": 0}
    rows = five("sst2", "lora", [81.0] * 5, scores=scores, steps=100, facts=MODEL, **SMALL)
    rows = [row.model_copy(update={"config": config("a")}) for row in rows]
    document = build(rows)
    assert document.name == "table1-small"
    assert document.title.endswith(
        "SmolLM2-135M-Instruct, 100 steps of 8, 250 test rows (not the paper's setting)"
    )
    assert texts(document, "LoRA")[:3] == ["9.99M", "81.0", "–"]
    entries = [e for line in document.grids[0].lines for e in line if isinstance(e, Entry)]
    assert {entry.paper for entry in entries} == {""}
    assert all(record["paper"] is None for record in document.records)
    text = markdown(document)
    assert "†" not in text
    assert "8.4M" not in text
    assert "stand-in" in text


def test_rows_of_the_papers_setting_and_small_ones_never_meet() -> None:
    rows = five("sst2", "lora", [81.0] * 5, **SMALL) + five("sst2", "lora", [93.3] * 5)
    assert texts(build(rows), "LoRA")[1] == "81.0"
    papers = score_table("table1", rows, collect(rows)[0])
    assert texts(papers, "LoRA")[1] == "93.3"
    assert not any("scale=small" in note for note in papers.notes), (
        "only an empty table points there"
    )


def test_the_tasks_of_one_folder_stand_in_one_table() -> None:
    rows = five("sst2", "lora", [81.0] * 5, config=config("a"), **SMALL)
    rows += five("rte", "lora", [55.0] * 5, config=config("b"), **SMALL)
    document = build(rows)
    assert texts(document, "LoRA")[1:3] == ["81.0", "55.0"]
    assert not any("Left out" in note for note in document.notes)


def test_real_data_goes_before_the_sample() -> None:
    rows = five("sst2", "lora", [99.0] * 5, setting="5a", **{**SMALL, "data": "sample"})
    assert texts(build(rows), "LoRA")[1] == "99.0"
    rows += five("sst2", "lora", [81.0], setting="f0", **SMALL)
    assert texts(build(rows), "LoRA")[1] == "81.0 (1/5)"


def test_of_several_settings_the_one_with_most_cells_is_shown_and_one_line_names_the_others() -> (
    None
):
    long = config("a", max_steps=100)
    rows = five("sst2", "lora", [81.0] * 2, config=long, setting="10f", steps=100, **SMALL)
    rows += five("sst2", "iapt", [82.0] * 2, config=long, setting="10f", steps=100, **SMALL)
    rows += five(
        "sst2",
        "lpt",
        [83.0] * 5,
        config=config("a", max_steps=40),
        setting="40f",
        steps=40,
        **SMALL,
    )
    document = build(rows)
    assert texts(document, "LoRA")[1] == "81.0 (2/5)"
    assert texts(document, "LPT")[1] == "–"
    (note,) = [note for note in document.notes if "Left out" in note]
    assert "(5 rows: smollm2_135m, 40 steps of 8, 1,635 test rows)" in note
    hidden = note.partition("Left out: ")[2].partition(" ")[0]
    assert texts(build_setting(rows, hidden), "LPT")[1] == "83.0"


def build_setting(rows: Sequence[Row], setting: str) -> Document:
    cells = collect(rows)[0]
    scope = Scope("tuned", "", setting, "smollm2_135m", "small")
    return score_table("table1", rows, cells, settle(scope, cells))


def test_a_point_of_a_figure_is_no_line_of_a_table_and_one_line_counts_such_rows() -> None:
    described = {"prompt_len": 4, "share_every": 4, "activation": "rational", "pooler": "attention"}
    rows: list[Row] = []
    for width, value in ((256, 82.0), (64, 79.0)):
        numbers = {**described, "bottleneck_dim": width}
        rows += five("boolq", "iapt", [value] * 5, numbers=numbers, **SMALL)
    document = build(rows)
    assert "82.0" in texts(document, "IAPT (as described)")
    (note,) = [note for note in document.notes if "Left out" in note]
    assert note.startswith("Left out: 5 rows of this setting, which differ in the method's values")
    points = build(rows, "figure2")
    assert texts(points, "IAPT bottleneck_dim=64")[1:] == ["–", "79.0"]
    assert texts(points, "IAPT bottleneck_dim=256")[1:] == ["–", "82.0"]


def test_a_scope_near_the_small_one_has_no_command_to_offer() -> None:
    rows = five("sst2", "lora", [81.0] * 5, **{**SMALL, "hparams": "quick", "data": "sample"})
    document = build(rows, hparams="quick")
    assert document.name == "table1-other"
    assert document.commands == []
    assert "1,635 test rows of the sample" in document.title
    assert all("data=FOLDER" in command for command in build([]).commands)


def test_a_scale_says_the_range_where_rows_differ() -> None:
    rows = five("sst2", "lora", [81.0], steps=90) + five("sst2", "lpt", [81.0], steps=100)
    assert scale_of(collect(rows)[0]) == "llama2_7b, 90 to 100 steps, 1,635 test rows"


def test_the_small_scale_has_columns_for_the_tasks_that_it_runs_and_for_others_with_rows() -> None:
    def heads(*tasks: str) -> list[str]:
        rows = [row for task in tasks for row in five(task, "lora", [81.0], **SMALL)]
        return list(build(rows).grids[0].head[2:])

    assert heads() == heads("sst2") == ["SST-2 (acc)", "RTE (acc)", "BoolQ (acc)"]
    assert heads("sst2", "copa") == [*heads(), "COPA (acc)"]
    assert build([], "table5").grids[0].head[2:] == ["SST-2 (acc)"]
    ablation = five("boolq", "iapt", [70.0], variant="iapt_1", **SMALL)
    assert build(ablation, "table5").grids[0].head[2:] == ["SST-2 (acc)", "BoolQ (acc)"]
    assert (
        len(build([], hparams="quick").grids[0].head) == 2 + 7
    )  # only a named scale has tasks of its own


def test_a_second_reading_of_the_papers_values_is_no_line_at_the_small_scale() -> None:
    document = build(five("sst2", "iapt", [81.0], **SMALL))
    assert not any("8.4M" in str(line) for line in document.grids[0].lines)
    assert not any("iapt_8m" in command for command in document.commands)
