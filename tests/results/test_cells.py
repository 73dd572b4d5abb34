from pathlib import Path
from typing import Any

import pytest

from iapt.results.cells import collect, compare, reference
from tests.results.example_rows import CONFIG, a_row, five


def test_rows_of_one_cell_gather_and_missing_seeds_are_known() -> None:
    cells, messages = collect([a_row(seed=3, value=80), a_row(seed=1, value=90)])
    assert messages == []
    assert len(cells) == 1
    assert cells[0].scores() == {1: 90.0, 3: 80.0}
    assert cells[0].missing == (0, 2, 4)


def test_the_newest_row_of_a_seed_counts_and_this_is_said() -> None:
    old = a_row(value=80, created="2026-11-23T22:50:00Z")
    new = a_row(value=90, created="2026-11-24T00:10:00+01:00")
    for rows in ([old, new], [new, old]):
        cells, messages = collect(rows)
        assert cells[0].scores() == {0: 90.0}
        assert len(messages) == 1
        assert "seed 0 has 2 rows" in messages[0]


def test_the_newest_row_is_chosen_by_its_time_not_by_its_path() -> None:
    times = {"b/old.json": "2026-11-24T00:00:00+02:00", "a/new.json": "2026-11-23T23:00:00Z"}
    rows = [
        a_row(value=value, created=created).model_copy(update={"path": Path(path)})
        for value, (path, created) in zip((80, 90), times.items(), strict=True)
    ]
    for order in (rows, rows[::-1]):
        (cell,), (message,) = collect(order)
        assert cell.scores() == {0: 90.0}
        assert message.endswith("the newest counts (a/new.json)")


def test_undeclared_seeds_do_not_count_and_are_named() -> None:
    cells, messages = collect([a_row(seed=0, value=80), a_row(seed=17, value=99)])
    assert cells[0].scores() == {0: 80.0}
    assert "seed 17 left out" in messages[0]
    cells, messages = collect([a_row(seed=17)])
    assert cells == []
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"setting": "0ther5e771ng"}, "0ther5e7"),
        ({"decoding": {"num_beams": 1, "max_new_tokens": 4}}, "decoding.num_beams=1"),
        ({"numbers": {"rank": 8}}, "method.rank=8"),
        ({"facts": {"dtype": "bfloat16"}}, "backbone.dtype=bfloat16"),
        ({"config": {"hparams": {"lr": 0.01}}}, "hparams.lr=0.01"),
        (
            {"config": {**CONFIG, "method": {"name": "iapt"}, "hparams": {"lr": 0.01}}},
            "hparams.lr=0.01",
        ),
        ({"cell_hash": "another"}, "only their hashes differ"),
    ],
)
def test_rows_of_several_settings_are_kept_apart_and_named(
    other: dict[str, Any], named: str
) -> None:
    strange = a_row(seed=1, value=10, **other)
    cells, messages = collect([a_row(seed=0, value=80), strange])
    assert sorted(list(cell.scores().values()) for cell in cells) == [[10.0], [80.0]]
    assert len(messages) == 1
    assert "2 settings, kept apart" in messages[0]
    assert named in messages[0]


def test_only_cells_on_the_same_basis_are_compared() -> None:
    ours = collect(five("boolq", "iapt", [87, 88, 86, 87, 89]))[0][0]
    theirs = collect(five("boolq", "lora", [86, 86, 86, 86, 86], numbers={"rank": 4}))[0][0]
    beams = {"num_beams": 1, "max_new_tokens": 4}
    elsewhere = collect(five("boolq", "lora", [86] * 5, decoding=beams))[0][0]
    comparison = compare(ours, theirs)
    assert comparison is not None
    assert comparison.difference == 1.0
    assert comparison.seeds == (0, 1, 2, 3, 4)
    assert comparison.test.p == pytest.approx(0.125)  # four wins and one tie
    assert compare(ours, elsewhere) is None
    assert reference(ours, [ours, elsewhere], "lora") is None
    assert reference(ours, [ours, theirs], "lora") is theirs
    assert reference(theirs, [ours, theirs], "lora") is None
    assert reference(theirs, [ours, theirs], "iapt") is ours


def test_only_shared_seeds_are_paired() -> None:
    ours = collect([a_row(method="iapt", seed=s, value=v) for s, v in ((0, 90), (2, 80))])[0][0]
    theirs = collect([a_row(method="lora", seed=s, value=v) for s, v in ((1, 10), (2, 79))])[0][0]
    comparison = compare(ours, theirs)
    assert comparison is not None
    assert (comparison.seeds, comparison.difference) == ((2,), 1.0)
    assert comparison.interval is None
    assert comparison.test.smallest == 1.0


def test_a_named_metric_is_found_in_the_details_however_it_is_spelled() -> None:
    details = {"rougeL": 51.1, "bad": None}
    scores = {"metric": "f1-em", "value": 80.0, "n": 9, "n_unparsed": 0, "details": details}
    cell = collect([a_row(scores=scores)])[0][0]
    assert cell.scores() == {0: 80.0}
    assert cell.scores("F1_EM") == {0: 80.0}
    assert cell.scores("rouge-l") == {0: 51.1}
    assert cell.scores("bad") == {}
    assert cell.scores("acc") == {}


def test_a_limit_on_any_split_is_seen() -> None:
    assert not collect([a_row()])[0][0].limited
    assert collect([a_row(config={"limit": {"train": None, "test": 100}})])[0][0].limited
