"""Whose rows are timed, and that what is timed gives each row its own adapter."""

import pytest
import torch

from iapt.errors import ConfigError
from iapt.inference import serving as module
from iapt.inference.serving import PEER_MIXED, PeftMixture, Pool, check_room, drawn, serving
from iapt.methods.lora import LoRA
from tests.tiny import EOS, PAD, new_backbone


def test_who_is_popular_decides_whose_rows_there_are():
    assert len(set(drawn("identical", 32, 1000))) == 1
    assert len(set(drawn("distinct", 32, 1000))) == 32
    assert sorted(drawn("distinct", 7, 7)) == list(range(7))
    assert drawn("distinct", 8, 7) is None, "so many are not there"
    assert len(set(drawn("uniform", 32, 1000))) > len(set(drawn("zipf", 32, 1000))) > 1
    assert all(owner < 3 for owner in drawn("zipf", 32, 3))
    assert drawn("uniform", 32, 1000) == drawn("uniform", 32, 1000)


@pytest.mark.parametrize("popularity", ["identical", "distinct", "uniform", "zipf"])
def test_another_seed_draws_other_tenants(popularity):
    draws = {tuple(drawn(popularity, 32, 1000, seed)) for seed in range(5)}
    assert len(draws) == 5


def test_zipfs_tenant_k_is_a_kth_as_popular_as_the_first():
    owners = drawn("zipf", 60_000, 3)
    shares = [owners.count(owner) / len(owners) for owner in range(3)]
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.01)


def test_pools_that_do_not_fit_are_refused_with_those_that_do():
    check_room({1: 10, 100: 1000}, 1000)
    with pytest.raises(ConfigError, match=r"pools=1000: 1000 tenants .*use pools=1,100, or fewer"):
        check_room({1: 10, 100: 1000, 1000: 10_000}, 1001)


def test_peft_serves_each_row_by_its_adapter_and_leaves_the_backbone_alone():
    backbone = new_backbone("llama")
    ids = torch.randint(3, 60, (3, 6))
    with torch.no_grad():
        bare = backbone(ids)
    peer = PeftMixture(backbone, 2)
    try:
        with torch.no_grad():
            assert torch.equal(backbone(ids), bare)
            for *_, layer in peer._places:
                layer.lora_B["1"].weight.add_(0.3)
        found = serving(backbone, {}, peer, [7, 4, 7], ids, EOS, PAD)[PEER_MIXED]
        written = []
        generate = peer._model.generate

        def kept(**options):
            written.append((generate(**options), options["adapter_names"]))

        peer._model.generate = kept
        with found() as run:
            run(4)
        ((tokens, names),) = written
        assert names == ["default", "1", "default"]
        with torch.no_grad():
            plain = backbone.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, min_new_tokens=4,
                do_sample=False, pad_token_id=PAD,
            )  # fmt: skip
        with pytest.raises(ZeroDivisionError), found():
            1 // 0  # noqa: B018
        with torch.no_grad():
            assert torch.equal(backbone(ids), bare), "also after an error"
        assert torch.equal(tokens[[0, 2]], plain[[0, 2]])
        assert not torch.equal(tokens[1], plain[1])
    finally:
        peer.close()
    with torch.no_grad():
        assert torch.equal(backbone(ids), bare)
    assert not [name for name, _ in backbone.model.named_modules() if "lora" in name]


def test_a_pool_has_a_tenant_for_each_number_and_runs_the_rows_that_it_is_given():
    backbone = new_backbone("llama")
    pool = Pool(backbone, lambda: LoRA(backbone.dims), 3)
    assert not any(seat.method.training for seat in pool.shared._seats.values())
    assert pool.bytes_per_tenant == 4 * sum(p.numel() for p in LoRA(backbone.dims).parameters())
    served = []
    with pool.serving([2, 0], lambda engine, new: served.append((engine._rows.owners, new))) as run:
        run(5)
    assert served == [([2, 0], 5)]


def test_ours_write_exactly_the_tokens_asked_for(monkeypatch):
    backbone = new_backbone("llama")
    pool = Pool(backbone, lambda: LoRA(backbone.dims), 2)
    written = []
    monkeypatch.setattr(
        module,
        "decode_batch",
        lambda engine, *_, **asked: written.append(
            (engine, asked["num_beams"], asked["max_new_tokens"], asked["min_new_tokens"])
        ),
    )
    ids = torch.randint(3, 60, (2, 6))
    for contender in serving(backbone, {"lora": pool}, None, [1, 0], ids, EOS, PAD).values():
        with contender() as run:
            run(5)
    assert written == [(backbone, 1, 5, 5), (pool.shared, 1, 5, 5)]
