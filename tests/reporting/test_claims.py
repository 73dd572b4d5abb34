from collections.abc import Sequence

import pytest

from iapt.reporting.choose import Scope
from iapt.reporting.claims import Evidence, Finding, claims_document, judge, load_claims
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_rows import five


def finding(identity: str, rows: Sequence[Row], **scope: str) -> Finding:
    claim = next(claim for claim in load_claims() if claim.id == identity)
    return judge(claim, Evidence(collect(rows)[0], Scope(**scope)))


def lora_family(**changes: str) -> list[Row]:
    return five("boolq", "lora", [86.0, 86.2, 86.1, 86.3, 86.0], **changes) + five(
        "boolq", "adalora", [85.9, 86.3, 86.0, 86.1, 86.2], **changes
    )


def test_every_claim_has_its_own_name_and_all_are_not_run_without_rows() -> None:
    claims = load_claims()
    assert len({claim.id for claim in claims}) == len(claims)
    assert {judge(claim, Evidence([], Scope())).verdict for claim in claims} == {"not run"}
    texts = {claim.text for claim in claims}
    assert "IAPT beats LoRA and AdaLoRA on BoolQ" in texts
    assert "Self-attention pooling beats averaging (IAPT-1) on SQuAD" in texts
    assert "IAPT decodes faster than unmerged LoRA with one beam" in texts
    assert not any("{" in text for text in texts)


def test_a_clear_win_over_all_is_reproduced_with_its_runs() -> None:
    rows = lora_family() + five("boolq", "iapt", [87.5, 87.6, 87.4, 87.7, 87.5])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "reproduced"
    assert sorted(found.run_ids) == sorted(row.run_id for row in rows)


def test_a_difference_that_may_be_chance_is_undecided() -> None:
    rows = lora_family() + five("boolq", "iapt", [90.0, 80.0, 86.5, 87.0, 84.0])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "undecided"
    assert "cannot distinguish from chance" in found.reason
    assert len(found.run_ids) == 15


def test_a_clear_loss_is_said_to_be_the_other_way_round() -> None:
    rows = lora_family() + five("boolq", "iapt", [80.0, 80.1, 80.2, 80.1, 80.0])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "contradicted"
    assert "the opposite of the claim" in found.reason


def test_a_claim_over_several_needs_every_one() -> None:
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "iapt", [87.0, 87.1, 87.2, 87.3, 87.4])
    assert finding("table1-boolq-lora", rows).verdict == "not run"  # no AdaLoRA
    rows += five("boolq", "adalora", [88.0] * 5)
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "contradicted"
    assert "adalora" in found.reason
    assert "over lora" not in found.reason  # which it beat


def test_one_contradiction_refutes_a_claim_whatever_else_is_missing_or_undecided() -> None:
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "iapt", [80.0, 80.1, 80.2, 80.3, 80.4])
    assert finding("table1-boolq-lora", rows).verdict == "contradicted"  # no AdaLoRA
    rows += five("boolq", "adalora", [70.0, 90.0, 80.2, 80.0, 80.5])
    assert finding("table1-boolq-lora", rows).verdict == "contradicted"


def test_an_undecided_pair_with_another_missing_is_not_run() -> None:
    rows = five("boolq", "lora", [70.0, 90.0, 80.2, 80.0, 80.5])
    rows += five("boolq", "iapt", [80.0, 80.1, 80.2, 80.3, 80.4])
    assert finding("table1-boolq-lora", rows).verdict == "not run"


def test_the_intro_counts_every_verdict() -> None:
    document = claims_document(collect(lora_family())[0])
    total = len(load_claims())
    assert document.intro[0] == (
        f"{total} claims: 0 reproduced, 0 contradicted, 0 undecided, {total} not run."
    )


@pytest.mark.parametrize(
    ("ours", "change", "lacks"),
    [
        ([87.5, 87.6, 87.4], {}, "lacks seed 3, 4"),
        ([87.5] * 5, {"hparams": "quick"}, "has no row"),
        ([87.5] * 5, {"config": {"limit": {"test": 9}}}, "has no row"),
        ([87.5] * 5, {"numbers": {"bottleneck_dim": 64}}, "has no row"),
        ([87.5] * 5, {"decoding": {"num_beams": 1}}, "lacks|has no row|differ"),
    ],
)
def test_missing_seeds_or_other_settings_leave_a_claim_not_run(
    ours: list[float], change: dict[str, object], lacks: str
) -> None:
    found = finding("table1-boolq-lora", lora_family() + five("boolq", "iapt", ours, **change))
    assert found.verdict == "not run"
    assert any(word in found.reason for word in lacks.split("|"))
    assert found.run_ids == ()


def test_variants_are_held_against_the_plain_method() -> None:
    rows = five("boolq", "iapt", [87.5] * 5)
    rows += five("boolq", "iapt", [86.5] * 5, variant="iapt_1")
    assert finding("table5-pooling-boolq", rows).verdict == "reproduced"
    assert finding("table5-pooling-e2e", rows).verdict == "not run"


def test_the_count_claim_is_decided_by_the_rows() -> None:
    rows = five("boolq", "iapt", [87.5], params={"trained": 16_810_080})
    found = finding("parameters", rows)
    assert found.verdict == "contradicted"
    assert "16,810,080" in found.reason


def test_figure_claims_find_points_by_their_numbers() -> None:
    rows = []
    for length in (1, 2, 4, 8, 16, 32):
        numbers = {
            "prompt_len": length,
            "share_every": 4,
            "activation": "rational",
            "pooler": "attention",
        }
        rows += five(
            "boolq", "iapt", [87 + length / 100] * 5, numbers={**numbers, "bottleneck_dim": 256}
        )
        rows += five(
            "boolq",
            "lpt",
            [80 + length / 10] * 5,
            numbers={"prompt_len": length, "bottleneck_dim": 1024},
        )
    assert finding("figure3-lpt", rows).verdict == "reproduced"
    flat = finding("figure3-flat", rows)
    assert flat.verdict == "reproduced"
    assert "0.31 points against 3.10" in flat.reason
    assert finding("figure3-lpt", rows[:-1]).verdict == "not run"


def test_a_steeper_curve_contradicts_the_claim_that_it_is_flatter() -> None:
    rows = []
    for length in (1, 2, 4, 8, 16, 32):
        described = {"share_every": 4, "activation": "rational", "pooler": "attention"}
        numbers = {**described, "prompt_len": length, "bottleneck_dim": 256}
        rows += five("boolq", "iapt", [80 + length / 10] * 5, numbers=numbers)
        numbers = {"prompt_len": length, "bottleneck_dim": 1024}
        rows += five("boolq", "lpt", [80 + length / 100] * 5, numbers=numbers)
    assert finding("figure3-flat", rows).verdict == "contradicted"


def test_another_setting_is_titled_as_no_reproduction() -> None:
    changes = {"backbone": "smollm2_135m", "hparams": "quick", "data": "sample"}
    rows = lora_family(**changes) + five("boolq", "iapt", [90.0] * 5, **changes)
    scope = Scope("quick", "sample", main_backbone="smollm2_135m")
    document = claims_document(collect(rows)[0], scope)
    assert "NOT a reproduction" in document.title
    record = next(r for r in document.records if r["id"] == "table1-boolq-lora")
    assert record["verdict"] == "reproduced"
    ours = claims_document(collect(rows)[0])
    assert {r["verdict"] for r in ours.records} == {"not run"}
    assert "NOT" not in ours.title
