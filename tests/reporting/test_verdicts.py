from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from iapt.reporting import measures, verdicts
from iapt.reporting.choose import Scope
from iapt.reporting.claims import load_claims
from iapt.reporting.evidence import Evidence
from iapt.reporting.verdicts import Finding, claims_document, judge_all
from iapt.results.cells import collect
from iapt.results.row import Row
from tests.results.example_items import answered
from tests.results.example_rows import five


def finding(identity: str, rows: Sequence[Row], **scope: str) -> Finding:
    claims = load_claims()
    found = judge_all(claims, Evidence(collect(rows)[0], Scope(**scope)))
    return next(f for claim, f in zip(claims, found, strict=True) if claim.id == identity)


def lora_family(**changes: Any) -> list[Row]:
    return five("boolq", "lora", [86.0, 86.2, 86.1, 86.3, 86.0], **changes) + five(
        "boolq", "adalora", [85.9, 86.3, 86.0, 86.1, 86.2], **changes
    )


def jittered(score: float) -> list[float]:
    """Five seeds that differ a little, in another way for every score."""
    return list(score + np.random.default_rng(int(100 * score)).normal(0, 0.02, 5))


def test_every_claim_has_its_own_name_and_all_are_not_run_without_rows() -> None:
    claims = load_claims()
    assert len({claim.id for claim in claims}) == len(claims)
    assert {found.verdict for found in judge_all(claims, Evidence([], Scope()))} == {"not run"}
    texts = {claim.text for claim in claims}
    assert "IAPT beats LoRA and AdaLoRA on BoolQ" in texts
    assert "Self-attention pooling beats averaging (IAPT-1) on SQuAD" in texts
    assert "IAPT decodes faster than unmerged LoRA with one beam" in texts
    assert not any("{" in text for text in texts)


def test_at_the_small_scale_the_same_is_asked_on_the_tasks_that_stand_for_the_papers() -> None:
    paper, small = load_claims(), load_claims(small=True)
    own = [claim.id for claim in paper]
    assert [claim.id for claim in small if claim.id in own] == own
    more = {claim.id: claim for claim in small if claim.id not in own}
    assert {claim.task for claim in more.values()} == {"sst2"}
    assert {identity.rpartition("-sst2")[0] for identity in more} == {
        *("table5-pooling", "table5-sharing-much", "table5-sharing-none", "table5-activation"),
        *("table7-mixed", "figure2-lora", "figure2-lpt", "figure3-lpt", "figure3-flat"),
    }
    pooling = more["table5-pooling-sst2"]
    assert pooling.text == "Self-attention pooling beats averaging (IAPT-1) on SST-2"
    points = [(ours.where, theirs.where) for ours, theirs in more["figure3-lpt-sst2"].pairs]
    assert [ours["prompt_len"] for ours, _ in points if ours] == [1, 4, 16]
    assert len(next(claim for claim in paper if claim.id == "figure3-lpt").pairs) == 6


def test_a_clear_win_over_all_is_reproduced_with_its_runs() -> None:
    rows = lora_family() + five("boolq", "iapt", [87.5, 87.6, 87.4, 87.7, 87.5])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "reproduced"
    assert sorted(found.run_ids) == sorted(row.run_id for row in rows)


def test_a_difference_that_may_be_chance_is_undecided() -> None:
    rows = lora_family() + five("boolq", "iapt", [90.0, 80.0, 86.5, 87.0, 84.0])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "undecided"
    assert "which may be chance" in found.reason
    assert "without per-item scores" in found.reason
    assert len(found.run_ids) == 15


def test_a_clear_loss_is_said_to_be_the_other_way_round() -> None:
    rows = lora_family() + five("boolq", "iapt", [80.0, 80.1, 80.2, 80.1, 80.0])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "contradicted"
    assert "the opposite of the claim" in found.reason


def test_a_claim_over_several_needs_every_one() -> None:
    rows = five("boolq", "lora", [86.0, 86.1, 86.0, 86.1, 86.0])
    rows += five("boolq", "iapt", [87.0, 87.1, 87.2, 87.3, 87.4])
    assert finding("table1-boolq-lora", rows).verdict == "not run"  # no AdaLoRA
    rows += five("boolq", "adalora", [89.0, 89.1, 89.2, 89.0, 89.1])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "contradicted"
    assert "adalora" in found.reason
    assert "over lora" not in found.reason  # which it beat


def test_a_win_over_one_and_chance_over_another_is_undecided_and_the_other_is_the_reason() -> None:
    rows = five("boolq", "lora", [80.0, 80.1, 80.0, 80.1, 80.0])
    rows += five("boolq", "iapt", [87.0, 87.1, 87.2, 87.3, 87.4])
    rows += five("boolq", "adalora", [87.4, 86.9, 87.3, 87.0, 87.2])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "undecided"
    assert "adalora" in found.reason
    assert "over lora" not in found.reason


def test_one_contradiction_refutes_a_claim_whatever_else_is_missing_or_undecided() -> None:
    rows = five("boolq", "lora", [86.0] * 5) + five("boolq", "iapt", [80.0, 80.1, 80.2, 80.3, 80.4])
    assert finding("table1-boolq-lora", rows).verdict == "contradicted"  # no AdaLoRA
    rows += five("boolq", "adalora", [70.0, 90.0, 80.2, 80.0, 80.5])
    assert finding("table1-boolq-lora", rows).verdict == "contradicted"


def test_an_undecided_pair_with_another_missing_is_not_run() -> None:
    rows = five("boolq", "lora", [70.0, 90.0, 80.2, 80.0, 80.5])
    rows += five("boolq", "iapt", [80.0, 80.1, 80.2, 80.3, 80.4])
    assert finding("table1-boolq-lora", rows).verdict == "not run"


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_the_intro_counts_every_verdict(scale: str) -> None:
    document = claims_document(collect(lora_family())[0], Scope.called(scale))
    total = len(load_claims(small=scale == "small"))
    assert ("also asked on SST-2" in " ".join(document.intro)) == (scale == "small")
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
    rows = five("boolq", "iapt", [87.5, 87.6, 87.4, 87.5, 87.5])
    rows += five("boolq", "iapt", [86.5, 86.4, 86.5, 86.6, 86.5], variant="iapt_1")
    assert finding("table5-pooling-boolq", rows).verdict == "reproduced"
    assert finding("table5-pooling-e2e", rows).verdict == "not run"


def test_the_count_claim_is_decided_by_the_rows() -> None:
    rows = five("boolq", "iapt", [87.5], params={"trained": 16_810_080})
    found = finding("parameters", rows)
    assert found.verdict == "contradicted"
    assert "16,810,080" in found.reason
    near = five("boolq", "iapt", [87.5], params={"trained": 8_440_000})
    assert finding("parameters", near).verdict == "reproduced", "8.4 as printed"


def test_a_count_on_the_papers_backbone_is_not_asked_of_another() -> None:
    changes: dict[str, Any] = {"backbone": "smollm2_135m", "params": {"trained": 8_400_000}}
    rows = five("boolq", "iapt", [87.5], **changes)
    found = finding("parameters", rows, main_backbone="smollm2_135m")
    assert (found.verdict, found.reason) == ("not run", "the claim is about a count on llama2_7b")


@pytest.mark.parametrize(("trained", "verdict"), [(105, "reproduced"), (106, "contradicted")])
def test_a_count_may_exceed_another_by_what_the_claim_allows(trained: int, verdict: str) -> None:
    rows = five("boolq", "iapt", [87.5], params={"trained": trained})
    rows += five("boolq", "lora", [87.5], params={"trained": 100})
    assert finding("parameters-lora", rows).verdict == verdict


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
            "boolq", "iapt", jittered(87 + length / 100), numbers={**numbers, "bottleneck_dim": 256}
        )
        rows += five(
            "boolq",
            "lpt",
            jittered(80 + length / 10),
            numbers={"prompt_len": length, "bottleneck_dim": 1024},
        )
    assert finding("figure3-lpt", rows).verdict == "reproduced"
    flat = finding("figure3-flat", rows)
    assert flat.verdict == "reproduced"
    assert "points against 3.1" in flat.reason
    assert finding("figure3-lpt", rows[:-1]).verdict == "not run"


def test_a_steeper_curve_contradicts_the_claim_that_it_is_flatter() -> None:
    rows = []
    for length in (1, 2, 4, 8, 16, 32):
        described = {"share_every": 4, "activation": "rational", "pooler": "attention"}
        numbers = {**described, "prompt_len": length, "bottleneck_dim": 256}
        rows += five("boolq", "iapt", jittered(80 + length / 10), numbers=numbers)
        numbers = {"prompt_len": length, "bottleneck_dim": 1024}
        rows += five("boolq", "lpt", jittered(80 + length / 100), numbers=numbers)
    assert finding("figure3-flat", rows).verdict == "contradicted"


def test_noisier_seeds_make_no_steeper_curve() -> None:
    draw, rows = np.random.default_rng(0), []
    for length in (1, 2, 4, 8, 16, 32):
        described = {"share_every": 4, "activation": "rational", "pooler": "attention"}
        numbers = {**described, "prompt_len": length, "bottleneck_dim": 256}
        rows += five("boolq", "iapt", list(draw.normal(85, 5, 5)), numbers=numbers)
        numbers = {"prompt_len": length, "bottleneck_dim": 1024}
        rows += five("boolq", "lpt", list(draw.normal(85, 0.5, 5)), numbers=numbers)
    found = finding("figure3-flat", rows)
    assert found.verdict == "undecided"
    assert "the test set taken as fixed" in found.reason


def test_what_is_tested_for_a_contradiction_counts_among_the_tests_of_its_table() -> None:
    rows = five("boolq", "lora", jittered(86.0)) + five("boolq", "iapt", jittered(86.5))
    found = finding("table1-boolq-lora", rows)  # AdaLoRA is missing
    assert (found.verdict, found.p) == ("not run", 1.0)
    assert finding("table1-boolq-lora", rows[:5]).p is None


def test_another_setting_is_titled_as_no_reproduction() -> None:
    changes = {"backbone": "smollm2_135m", "hparams": "quick", "data": "sample"}
    rows = lora_family(**changes) + five("boolq", "iapt", [90.0, 90.1, 90.0, 89.9, 90.0], **changes)
    scope = Scope("quick", "sample", main_backbone="smollm2_135m")
    document = claims_document(collect(rows)[0], scope)
    assert "NOT a reproduction" in document.title
    record = next(r for r in document.records if r["id"] == "table1-boolq-lora")
    assert record["verdict"] == "reproduced"
    ours = claims_document(collect(rows)[0])
    assert {r["verdict"] for r in ours.records} == {"not run"}
    assert "NOT" not in ours.title


def three(accuracies: Sequence[float], **changes: Any) -> list[Row]:
    """Scored items of IAPT, LoRA and AdaLoRA on BoolQ."""
    methods = ("iapt", "lora", "adalora")
    rows = []
    for number, (method, accuracy) in enumerate(zip(methods, accuracies, strict=True)):
        rows += answered(method, accuracy, number=number, **changes)
    return rows


def test_a_large_effect_over_seeds_and_items_is_reproduced() -> None:
    found = finding("table1-boolq-lora", three([0.85, 0.65, 0.6]))
    assert found.verdict == "reproduced"
    assert found.reason.endswith("5 seeds x 200 items")
    assert finding("table1-boolq-lora", three([0.6, 0.65, 0.85])).verdict == "contradicted"


def test_methods_that_answer_alike_are_undecided_though_every_seed_agrees() -> None:
    rows = three([0.7, 0.7, 0.7])
    alike = [row for row in rows if row.cell.method == "iapt"]
    ties = [
        row.model_copy(update={"cell": row.cell.model_copy(update={"method": method})})
        for row in alike
        for method in ("lora", "adalora")
    ]
    found = finding("table1-boolq-lora", [*alike, *ties])
    assert found.verdict == "undecided"
    assert "+0.00" in found.reason


def test_one_seed_never_decides_however_large_the_effect() -> None:
    rows = three([0.95, 0.3, 0.3], seeds=[0])
    found = finding("table1-boolq-lora", rows)
    assert found.verdict == "not run"
    assert "lacks seed 1, 2, 3, 4" in found.reason


def test_without_an_effect_reproduced_is_said_in_at_most_2_5_percent() -> None:
    said = []
    for number in range(120):
        ours = answered("iapt", 0.7, number=2 * number, items=60)
        theirs = answered("iapt", 0.7, number=2 * number + 1, items=60, variant="iapt_1")
        said.append(finding("table5-pooling-boolq", [*ours, *theirs]).verdict)
    assert said.count("reproduced") <= 6  # a 95 % bound on 120 draws of 2.5 %
    assert said.count("contradicted") <= 6
    assert "not run" not in said


def test_among_more_claims_of_a_table_the_same_difference_may_be_undecided() -> None:
    ours, theirs = [87.0, 87.5, 86.9, 87.2, 87.1], [86.9, 86.8, 86.8, 86.4, 86.7]
    pooling = five("boolq", "iapt", ours) + five("boolq", "iapt", theirs, variant="iapt_1")
    alone = finding("table5-pooling-boolq", pooling)
    assert alone.verdict == "reproduced"
    assert alone.p == alone.p_holm
    others = five("boolq", "iapt", [87.0, 86.0, 87.4, 86.8, 87.9], variant="iapt_2")
    others += five("boolq", "iapt", [86.0, 87.6, 87.4, 86.8, 87.9], variant="iapt_3")
    among = finding("table5-pooling-boolq", pooling + others)
    assert among.p == alone.p
    assert among.p_holm == pytest.approx(3 * (among.p or 0))
    assert among.verdict == "undecided"
    assert "once adjusted for the claims of its table" in among.reason


def test_claims_of_another_table_are_another_family() -> None:
    rows = lora_family() + five("boolq", "iapt", [86.3, 86.8, 86.2, 86.9, 86.4])
    alone = finding("table1-boolq-lora", rows)
    others = five("boolq", "iapt", [86.0, 87.6, 87.4, 86.8, 87.9], variant="iapt_3")
    among = finding("table1-boolq-lora", rows + others)
    assert alone.p is not None
    assert among.p_holm == alone.p_holm == alone.p


def test_a_p_value_of_exactly_the_level_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = lora_family() + five("boolq", "iapt", [87.5, 87.6, 87.4, 87.7, 87.5])
    for p_holm, verdict in ((measures.FOUND, "reproduced"), (0.0501, "undecided")):
        monkeypatch.setattr(
            verdicts, "adjusted", lambda ps, p=p_holm: [None if x is None else p for x in ps]
        )
        assert finding("table1-boolq-lora", rows).verdict == verdict


def test_a_contradiction_by_one_of_several_counts_how_many_were_tried() -> None:
    ours = five("boolq", "iapt", [86.9, 86.8, 86.8, 86.4, 86.7])
    better = five("boolq", "lora", [87.0, 87.5, 86.9, 87.2, 87.1])
    # Its p-value is 0.045, which would do if LoRA were the claim's only baseline.
    assert finding("table1-boolq-lora", [*ours, *better]).verdict == "not run"
    far = five("boolq", "lora", [89.0, 89.5, 88.9, 89.2, 89.1])
    assert finding("table1-boolq-lora", [*ours, *far]).verdict == "contradicted"


def test_the_smallest_detectable_difference_stands_under_the_claims() -> None:
    document = claims_document(collect(three([0.85, 0.65, 0.6]))[0])
    assert document.notes[0].startswith("Smallest detectable difference: ")
    record = next(r for r in document.records if r["id"] == "table1-boolq-lora")
    assert record["p_holm"] == pytest.approx(record["p"])


def test_unequal_budgets_are_said_in_the_reason() -> None:
    rows = five("boolq", "iapt", [87.5, 87.6, 87.4, 87.5, 87.5], params={"trained": 200})
    rows += five(
        "boolq", "iapt", [86.5, 86.4, 86.5, 86.6, 86.5], variant="iapt_1", params={"trained": 100}
    )
    assert "with 2 times the trained parameters" in finding("table5-pooling-boolq", rows).reason
