"""The paper's splits: sizes, disjointness, and that the draw never changes."""

import pytest

from iapt.configuration.checking import checked
from iapt.errors import ConfigError
from iapt.tasks.splits import SplitRule, shuffled

HALVES = SplitRule("halve_validation")


@pytest.mark.parametrize(
    ("rule", "sizes", "expected"),
    [
        (HALVES, {"train": 2490, "validation": 277}, (2490, 138, 139)),  # RTE
        (HALVES, {"train": 9427, "validation": 3270}, (9427, 1635, 1635)),  # BoolQ
        (HALVES, {"train": 400, "validation": 100}, (400, 50, 50)),  # COPA
        (SplitRule("hold_out", 1000), {"train": 67349, "validation": 872}, (66349, 1000, 872)),
        (SplitRule("hold_out", 500, test="test"), {"train": 7473, "test": 1319}, (6973, 500, 1319)),
        (
            SplitRule("official", test="test"),
            {"train": 42061, "validation": 4672, "test": 4693},
            (42061, 4672, 4693),
        ),
    ],
)
def test_released_sizes_give_the_splits_of_table_6(rule, sizes, expected):
    made = []
    for split in ("train", "dev", "test"):
        made.append(len(rule.indices(split, sizes[rule.official(split)], exact=True)))
    assert tuple(made) == expected


@pytest.mark.parametrize(
    ("rule", "parts"), [(HALVES, "dev test"), (SplitRule("hold_out", 30), "train dev")]
)
def test_the_two_parts_of_a_split_cover_it_once_in_order(rule, parts):
    first, second = (rule.indices(part, 301, exact=True) for part in parts.split())
    assert sorted(first + second) == list(range(301))
    assert first == sorted(first)
    assert second == sorted(second)


def test_the_draw_is_the_one_that_results_were_measured_with():
    assert HALVES.indices("dev", 10, exact=True) == [0, 4, 6, 7, 9]
    assert SplitRule("hold_out", 3).indices("dev", 50, exact=True) == [16, 31, 46]
    assert shuffled(5, seed=0) != shuffled(5, seed=1)


def test_a_slice_gives_a_tenth_of_its_rows_to_dev_and_never_more_than_asked():
    rule = SplitRule("hold_out", 1000)
    assert len(rule.indices("dev", 2000, exact=False)) == 200
    assert len(rule.indices("train", 2000, exact=False)) == 1800
    assert len(rule.indices("dev", 67349, exact=False)) == 1000
    assert rule.indices("dev", 9, exact=False) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": "hold_ou"}, "Did you mean 'hold_out'"),
        ({"rule": "hold_out"}, "needs the number of training rows"),
        ({"rule": "hold_out", "rows": 0}, "task.split.rows=0"),
        ({}, "task.split.rule: missing; it must be one of halve_validation, hold_out, official"),
        ({"rule": "official", "rows": True}, "task.split.rows=True: must be a whole number >= 1"),
        (
            {"rule": "official", "test": 3},
            "task.split.test=3: must be text that is not empty or null",
        ),
        ({"rule": "official", "tset": "x"}, "task.split.tset: unknown; .* Did you mean 'test'"),
        (3, "task.split=3: must be a mapping with rule, rows, train, dev, test"),
    ],
)
def test_a_wrong_rule_is_named(values, message):
    with pytest.raises(ConfigError, match=message):
        checked(SplitRule, values, "task.split")


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "rule", [HALVES, SplitRule("hold_out", 3, test="test"), SplitRule("official")]
)
def test_a_split_has_a_row_from_its_fewest_rows_on_and_none_before(rule, exact):
    for split in rule.splits():
        sizes = [len(rule.indices(split, n, exact=exact)) for n in range(12)]
        least = rule.least(split, exact=exact)
        assert not any(sizes[:least])
        assert all(sizes[least:])
