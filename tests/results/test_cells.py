from pathlib import Path
from typing import Any

import pytest

from iapt.results.cells import canonical, collect, count_of, differences, reference
from tests.results.example_rows import CONFIG, a_row, bare, five


def test_rows_of_one_cell_gather_and_missing_seeds_are_known() -> None:
    cells, messages = collect([a_row(seed=3, value=80), a_row(seed=1, value=90)])
    assert messages == []
    assert len(cells) == 1
    assert cells[0].scores() == {1: 90.0, 3: 80.0}
    assert cells[0].missing == (0, 2, 4)


def test_a_cell_is_named_by_what_its_rows_share() -> None:
    (cell,), _ = collect([a_row(variant="iapt_1", value=80)])
    assert (cell.task, cell.backbone, cell.method, cell.variant) == (
        "boolq",
        "llama2_7b",
        "iapt",
        "iapt_1",
    )
    assert (cell.hparams, cell.data, cell.setting) == ("paper", "hub", "5e771116")
    assert cell.label == "boolq llama2_7b iapt/iapt_1 paper hub"
    assert cell.run_ids == (cell.rows[0].run_id,)
    assert collect([a_row()])[0][0].label == "boolq llama2_7b iapt paper hub"


def test_the_order_of_keys_in_a_configuration_sets_no_rows_apart() -> None:
    one, other = (
        a_row(seed=seed, config={"method": dict(numbers), "limit": {"test": None}})
        for seed, numbers in enumerate(([("rank", 4), ("name", "é")], [("name", "é"), ("rank", 4)]))
    )
    cells, messages = collect([one, other])
    assert (len(cells), messages) == (1, [])


def test_the_newest_row_of_a_seed_counts_and_this_is_said() -> None:
    old = a_row(value=80, created="2026-11-23T22:50:00Z")
    new = a_row(value=90, created="2026-11-24T00:10:00+01:00")
    for rows in ([old, new], [new, old]):
        cells, messages = collect(rows)
        assert cells[0].scores() == {0: 90.0}
        assert len(messages) == 1
        assert "seed 0 has 2 rows" in messages[0]
    cells, messages = collect([new, old, a_row(value=70, created="2026-11-22T12:00:00Z")])
    assert cells[0].scores() == {0: 90.0}
    assert messages[0].endswith(f"seed 0 has 3 rows; the newest counts ({new.path})")


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
    cells, messages = collect([a_row(seed=17), a_row(seed=18)])
    assert cells == []
    assert messages == [
        "boolq llama2_7b iapt paper hub: seed 17, 18 left out; the declared seeds are 0, 1, 2, 3, 4"
    ]


def test_every_cell_has_its_own_messages() -> None:
    rows = [a_row(task, seed=seed) for task in ("boolq", "copa") for seed in (0, 0, 17)]
    _, messages = collect(rows)
    assert [message[: message.index(";")] for message in messages] == [
        "boolq llama2_7b iapt paper hub: seed 0 has 2 rows",
        "boolq llama2_7b iapt paper hub: seed 17 left out",
        "copa llama2_7b iapt paper hub: seed 0 has 2 rows",
        "copa llama2_7b iapt paper hub: seed 17 left out",
    ]


def scored(metric: str, n: int) -> dict[str, Any]:
    return {"metric": metric, "value": 10.0, "n": n, "n_unparsed": 0}


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
        (
            {"config": {**CONFIG, "method": {"name": "iapt"}, "task": {"version": 2}}},
            "task.version=2",
        ),
        ({"cell_hash": "another"}, "(1 row: only their hashes differ)"),
        ({"facts": {"dtype": "float32", "fingerprint": "b"}}, "backbone.fingerprint=b"),
        ({"decoding": {"num_beams": 3, "max_new_tokens": 9}}, "decoding.max_new_tokens=9"),
        ({"scores": scored("acc", 9)}, "scores.n=9"),
        ({"scores": scored("f1", 1635)}, "scores.metric=f1"),
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


def test_rows_on_other_examples_are_kept_apart() -> None:
    row = a_row(seed=1)
    strange = row.model_copy(update={"data": row.data.model_copy(update={"fingerprint": "bad"})})
    cells, (message,) = collect([a_row(seed=0), strange])
    assert len(cells) == 2
    assert "data.fingerprint=bad" in message


def test_of_several_settings_each_says_how_many_rows_it_has_and_what_sets_it_apart() -> None:
    rows = [a_row(seed=seed, numbers={"rank": 4}) for seed in (0, 1)] + [a_row(seed=2)]
    _, (message,) = collect(rows)
    head, *settings = message.split(", kept apart: ")
    assert head == "boolq llama2_7b iapt paper hub: 2 settings"
    assert sorted(settings[0].split("; ")) == [
        "setting 5e771116 (1 row: method.rank=unset)",
        "setting 5e771116 (2 rows: method.rank=4)",
    ]


def test_the_first_keys_that_differ_are_spelled_out_and_the_rest_counted() -> None:
    rows = [a_row(numbers={key: value for key in "abcdef"}) for value in (1, 2)]
    assert differences(rows) == [
        "method.a=1, method.b=1, method.c=1, method.d=1, and 2 more",
        "method.a=2, method.b=2, method.c=2, method.d=2, and 2 more",
    ]
    assert differences(rows, most=6)[0].endswith("method.e=1, method.f=1")
    assert differences(rows, most=5)[0].endswith("method.e=1, and 1 more")


def test_a_seed_is_not_what_sets_two_rows_apart() -> None:
    rows = [a_row(config={"seed": seed, "hparams": {"lr": seed}}) for seed in (0, 1)]
    assert differences(rows) == ["hparams.lr=0", "hparams.lr=1"]


def test_the_reference_is_on_the_same_basis_and_never_itself() -> None:
    ours = collect(five("boolq", "iapt", [87, 88, 86, 87, 89]))[0][0]
    theirs = collect(five("boolq", "lora", [86, 86, 86, 86, 86], numbers={"rank": 4}))[0][0]
    beams = {"num_beams": 1, "max_new_tokens": 4}
    elsewhere = collect(five("boolq", "lora", [86] * 5, decoding=beams))[0][0]
    assert reference(ours, [ours, elsewhere], "lora") is None
    assert reference(ours, [ours, theirs], "lora") is theirs
    assert reference(theirs, [ours, theirs], "lora") is None
    assert reference(theirs, [ours, theirs], "iapt") is ours


def test_a_variant_of_the_reference_method_is_no_reference() -> None:
    ours, plain = (collect([a_row(method=method)])[0][0] for method in ("iapt", "lora"))
    variant = collect(five("boolq", "lora", [90.0] * 5, variant="lora_wide"))[0][0]
    assert reference(ours, [variant], "lora") is None
    assert reference(ours, [variant, plain], "lora") is plain
    assert reference(variant, [variant, plain], "lora") is plain


def test_the_reference_is_the_cell_with_most_rows() -> None:
    ours = collect([a_row()])[0][0]
    few, many = (
        collect([a_row(method="lora", seed=seed, numbers={"rank": rank}) for seed in range(count)])
        for rank, count in ((4, 1), (8, 3))
    )
    for order in ([*few[0], *many[0]], [*many[0], *few[0]]):
        assert reference(ours, order, "lora") is many[0][0]


def test_the_typical_number_is_the_median_of_the_rows_that_have_it() -> None:
    rows = [a_row(seed=seed, seconds={"per_step": s}) for seed, s in enumerate((4.0, 1.0, None))]
    (cell,), _ = collect([*rows, a_row(seed=3, seconds={"per_step": 2.0})])
    assert cell.typical(lambda row: row.seconds.per_step) == 2.0
    assert cell.typical(lambda row: row.search.seconds) is None
    assert cell.trained == 9_994_240
    assert collect([bare(a_row())])[0][0].trained is None


def test_rows_are_counted_in_words() -> None:
    assert [count_of([a_row()] * count) for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_spellings_of_a_name_are_one() -> None:
    assert canonical("ROUGE-L") == canonical("rouge_l") == "rougel"


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
    limited = collect([a_row(config={"limit": {"train": None, "test": 100}})])[0][0]
    assert limited.limited
    assert limited.limits == {"test": 100}
    assert collect([a_row(config={"limit": 7})])[0][0].limits == {"split": 7}


def test_a_setting_that_came_later_keeps_seeds_of_one_cell_together() -> None:
    older = five("boolq", "iapt", [80.0, 81.0])
    method = {"first_block": 0, "extension_base_text": None}
    later = [
        row.model_copy(update={"cell": row.cell.model_copy(update={"seed": seed})})
        for seed, row in enumerate(five("boolq", "iapt", [82.0, 83.0], numbers=method), start=2)
    ]
    (cell,), messages = collect([*older, *later])
    assert (len(cell.rows), messages) == (4, [])
    other = five("boolq", "iapt", [84.0], numbers={"first_block": 6})
    cells, messages = collect([*older, *other])
    assert (len(cells), len(messages)) == (2, 1)
