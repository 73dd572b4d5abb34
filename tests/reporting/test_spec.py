from pathlib import Path

import pytest
import yaml

from iapt.reporting.spec import FIGURES, SCORE_TABLES, Line, load, load_table
from iapt.results.cells import collect
from tests.results.example_rows import a_row

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", SCORE_TABLES)
def test_every_table_loads_with_a_value_per_column(name: str) -> None:
    table = load_table(name)
    assert table.blocks
    assert all(len(line.values) == len(table.columns) for b in table.blocks for line in b.lines)


def test_table_1_has_the_papers_fourteen_methods_and_iapt_best_everywhere() -> None:
    table = load_table("table1")
    lines = [line for block in table.blocks for line in block.lines if not line.repeats]
    assert len(lines) == 14
    iapt = next(line for line in lines if line.method == "iapt")
    for k in range(len(table.columns)):
        values = [value for line in lines if (value := line.values[k]) is not None]
        assert iapt.values[k] == max(values)
        assert sorted(values)[-2] < max(values)


def test_table_7_repeats_table_5() -> None:
    five, seven = (
        [line.values for block in load_table(n).blocks for line in block.lines if not line.repeats]
        for n in ("table5", "table7")
    )
    assert len(seven) == 5
    assert set(seven) <= set(five)


@pytest.mark.parametrize(
    ("method", "variant", "takes"),
    [
        ("iapt", "iapt_1", True),
        ("iapt", "IAPT-1", True),
        ("iapt", "1", True),
        ("iapt_1", "", True),
        ("iapt", "", False),
        ("iapt", "iapt_2", False),
        ("lora", "iapt_1", False),
    ],
)
def test_a_variant_is_found_however_it_is_spelled(method: str, variant: str, takes: bool) -> None:
    cell = collect([a_row(method=method, variant=variant)])[0][0]
    assert Line("IAPT-1", "iapt", variants=("iapt_1",)).names(cell) is takes


def test_a_plain_line_takes_no_variant() -> None:
    cell = collect([a_row(variant="iapt_1")])[0][0]
    assert not Line("IAPT", "iapt").names(cell)


def test_numbers_that_a_row_does_not_state_are_trusted_but_not_for_a_figure() -> None:
    silent = collect([a_row()])[0][0]
    other = collect([a_row(numbers={"bottleneck_dim": 64})])[0][0]
    line = Line("IAPT", "iapt", where={"bottleneck_dim": 256})
    point = Line("m", "iapt", where={"bottleneck_dim": 256}, varied="bottleneck_dim")
    assert line.strays(silent) == []
    assert line.strays(other) == ["method.bottleneck_dim=64, not 256"]
    assert len(point.strays(silent)) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_figures_load_and_their_series_have_equally_many_points(name: str) -> None:
    table = load_table(name)
    assert table.columns
    assert len({len(block.lines) for block in table.blocks}) == 1
    assert all(line.varied for block in table.blocks for line in block.lines)


def test_the_papers_setting_is_what_the_paper_preset_runs() -> None:
    preset = yaml.safe_load((CONFIGS / "hparams" / "paper.yaml").read_text())
    wanted = load("setting")["hparams"]
    assert {key: preset[key] for key in wanted} == wanted


@pytest.mark.parametrize("name", SCORE_TABLES)
def test_the_variants_and_backbones_of_the_commands_exist(name: str) -> None:
    for block in load_table(name).blocks:
        assert (CONFIGS / "backbone" / f"{block.backbone}.yaml").is_file()
        for line in block.lines:
            if line.variants:
                assert (CONFIGS / "variant" / f"{line.variants[0]}.yaml").is_file()


def test_iapt_as_described_is_the_default_preset() -> None:
    preset = yaml.safe_load((CONFIGS / "method" / "iapt.yaml").read_text())
    line = next(
        line
        for block in load_table("table1").blocks
        for line in block.lines
        if line.method == "iapt"
    )
    assert line.where
    assert {key: preset[key] for key in line.where} == line.where
