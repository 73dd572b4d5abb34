from collections.abc import Sequence

from iapt.reporting.charts.canvas import COLOURS, PAPER
from iapt.reporting.choose import Scope
from iapt.reporting.figures import drawings
from iapt.reporting.render import Document, Entry
from iapt.reporting.scale import settle
from iapt.reporting.tables import score_table
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import five

DESCRIBED = {"prompt_len": 4, "share_every": 4, "activation": "rational", "pooler": "attention"}


def figure(name: str, rows: Sequence[Row]) -> tuple[Document, dict[str, str]]:
    cells = collect(rows)[0]
    return score_table(name, rows, cells), drawings(name, cells)


def sweep() -> list[Row]:
    rows = []
    for m in (64, 256, 1024):
        rows += five(
            "boolq",
            "iapt",
            [80 + m / 256] * 5,
            numbers={**DESCRIBED, "bottleneck_dim": m},
            params={"trained": 65_664 * m},
            variant=f"m{m}",
        )
    return rows


def test_points_are_found_by_the_methods_own_numbers() -> None:
    rows = sweep()
    document, drawn = figure("figure2", rows)
    lines = {line[0]: [entry.text for entry in line[1:]] for line in document.grids[0].lines}
    assert lines["IAPT bottleneck_dim=256"] == ["16.81M", "81.0", "–"]
    assert lines["IAPT bottleneck_dim=128"] == ["–", "–", "–"]
    assert list(drawn) == ["figure2-boolq.svg"]
    assert drawn["figure2-boolq.svg"].count(f'style="fill: {COLOURS[0]}') == 3  # a dot each


def test_the_commands_name_the_missing_points() -> None:
    rows = sweep()
    commands = figure("figure2", rows)[0].commands
    assert (
        "iapt-sweep +experiment=paper task=boolq,e2e method=iapt "
        "method.bottleneck_dim=128,512,2048,4096"
    ) in commands
    assert (
        "iapt-sweep +experiment=paper task=e2e method=iapt method.bottleneck_dim=64,256,1024"
    ) in commands


def test_an_ablation_is_no_point_of_a_figure() -> None:
    numbers = {**DESCRIBED, "bottleneck_dim": 256, "activation": "gelu"}
    rows = five("boolq", "iapt", [99.0] * 5, numbers=numbers, variant="iapt_4")
    document, drawn = figure("figure2", rows)
    assert drawn == {}
    assert all(line[2] == Entry("–") for line in document.grids[0].lines)


def test_without_rows_there_is_a_list_of_dashes_and_no_drawing() -> None:
    document, drawn = figure("figure3", [])
    assert drawn == {}
    assert len(document.grids[0].lines) == 12


def small(method: str, key: str, points: dict[int, int], **numbers: object) -> list[Row]:
    """Rows of a method at the small scale: the point's value -> how many of its seeds there are."""
    return [
        row
        for value, seeds in points.items()
        for row in five(
            "sst2",
            method,
            [70.0 + seed for seed in range(seeds)],
            numbers={**numbers, key: value},
            params={"trained": 1000 * value},
            backbone="smollm2_135m",
            hparams="tuned",
            data="folder:rows",
        )
    ]


def test_at_the_small_scale_a_point_without_all_seeds_says_so_and_one_without_any_is_left_out() -> (
    None
):
    rows = small("iapt", "bottleneck_dim", {64: 5, 256: 3, 1024: 1}, **DESCRIBED)
    rows += small("lora", "rank", {2: 5, 16: 5})
    cells = collect(rows)[0]
    scope = settle(Scope.called("small"), cells)
    document = score_table("figure2", rows, cells, scope)
    lines = {line[0]: line[2].text for line in document.grids[0].lines}  # type: ignore[union-attr]
    assert lines == {
        "IAPT bottleneck_dim=64": "72.0",
        "IAPT bottleneck_dim=256": "71.0 (3/5)",
        "IAPT bottleneck_dim=1024": "70.0 (1/5)",
        "LoRA rank=2": "72.0",
        "LoRA rank=4": "–",
        "LoRA rank=16": "72.0",
        **{f"LPT bottleneck_dim={m}": "–" for m in (512, 1024, 4096)},
    }
    (name,), (svg,) = zip(*drawings("figure2", cells, scope).items(), strict=True)
    assert name == "figure2-small-sst2.svg"
    dots = [svg.count(f'style="fill: {colour}') for colour in COLOURS[:3]]
    rings = [svg.count(f'style="fill: {PAPER}; stroke: {colour}') for colour in COLOURS[:3]]
    assert (dots, rings) == ([1, 2, 0], [2, 0, 0])
    assert "ring: seeds missing" in svg
    wanted = (
        "method.bottleneck_dim=256,1024",
        "method.rank=4",
        "method.bottleneck_dim=512,1024,4096",
    )
    assert [c.split()[-2] for c in document.commands] == list(wanted)
    assert all("task=sst2 " in command for command in document.commands)


def test_the_ablations_at_the_small_scale_compare_with_lora_and_say_what_is_missing() -> None:
    rows = small("iapt", "bottleneck_dim", {256: 5}, **DESCRIBED) + small("lora", "rank", {4: 5})
    for variant, seeds in (("iapt_1", 5), ("iapt_2", 2)):
        rows += [
            row.model_copy(update={"cell": row.cell.model_copy(update={"variant": variant})})
            for row in small("iapt", "bottleneck_dim", {512: seeds})
        ]
    cells = collect(rows)[0]
    document = score_table("table5", rows, cells, settle(Scope.called("small"), cells))
    lines = {str(line[0]).split(" ")[0]: line[2].text for line in document.grids[0].lines}  # type: ignore[union-attr]
    assert lines["IAPT"] == lines["IAPT-1"] == "72.0"
    assert lines["IAPT-2"] == "70.5 (2/5)"
    assert lines["IAPT-7"] == "–"
    assert "variant=iapt_2,iapt_3,iapt_4,iapt_5,iapt_6,iapt_7" in document.commands[-1]
    assert {line[1] for line in document.details[0].lines} == {
        "IAPT",
        "IAPT-1 (average pooling)",
        "IAPT-2 (L_s = 16, m = 1024)",
    }
