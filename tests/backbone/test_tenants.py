"""Mixed batches (I27): a row with a tenant is the same row alone with that method."""

from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from iapt.backbone.dims import FAMILIES
from iapt.backbone.tenants import SharedBackbone
from iapt.cli.overrides import CONFIG_DIR, groups
from iapt.entries import build_method
from iapt.errors import AdapterError, BackboneError
from iapt.inference.generate import decode_batch
from iapt.methods.base import Method
from iapt.methods.iapt import IAPT
from iapt.methods.idpg import IDPG
from iapt.methods.lora import LoRA
from iapt.methods.lpt import LPT
from tests.tiny import EOS, PAD, examples, new_backbone, padded, shared_backbone, whole

METHODS = groups()["method"]
NEW = 5


@cache
def numbers(name):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", overrides=[f"method={name}"])
    return OmegaConf.to_container(config.method, resolve=True)


class Both(Method):
    """Acts on projections and makes soft tokens from a bare first pass."""

    def __init__(self, dims):
        super().__init__()
        self.parts = torch.nn.ModuleList([LoRA(dims), IDPG(dims, 2, 8)])

    def attach(self, backbone):
        for part in self.parts:
            part.attach(backbone)


def extras(dims):
    """Forms that no preset has: soft tokens rewritten in every block, another block for LPT."""
    return {
        "both": Both(dims),
        "m-idpg": IDPG(dims, 2, 8, generator="phm", phm_order=4, multi_layer=True),
        "early lpt": LPT(dims, prompt_len=2, bottleneck_dim=8, layer=1),
    }


@cache
def methods(family):
    """One of every preset, with parameters large enough to show."""
    dims = shared_backbone(family).dims
    torch.manual_seed(3)
    made = {name: build_method(numbers(name), dims) for name in METHODS} | extras(dims)
    for method in made.values():
        method.eval()
        with torch.no_grad():
            for p in method.parameters():
                p.add_(0.05 * torch.randn_like(p))
    return made


def mixture(family):
    backbone = shared_backbone(family)
    backbone.detach()
    tenants = SharedBackbone(backbone)
    for name, method in methods(family).items():
        tenants.add(name, method)
    return tenants


def alone(family, name, text):
    """Logits (T, V) and decoded tokens (beams 1 and 3) of one row with one method attached."""
    backbone = shared_backbone(family)
    backbone.detach()
    if name is not None:
        methods(family)[name].attach(backbone)
    ids, mask, instruction = whole([text])
    with torch.no_grad():
        logits = backbone(ids, mask, instruction)[0]
    out = [decoded(backbone, [text], beams)[0] for beams in (1, 3)]
    backbone.detach()
    return logits, out


def decoded(backbone, rows, beams, side="left"):
    ids, mask = padded([t.instruction for t in rows], side)
    out = decode_batch(
        backbone, ids, mask, num_beams=beams, max_new_tokens=NEW, min_new_tokens=NEW,
        eos_token_id=EOS, pad_token_id=PAD,
    )  # fmt: skip
    return out.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_methods_share_a_batch_and_every_row_is_as_if_alone(family):
    names = [None, *methods(family), None, *reversed(methods(family))]
    rows = examples(len(names))
    expected = [alone(family, name, text) for name, text in zip(names, rows, strict=True)]
    tenants = mixture(family)
    with tenants.rows(names), torch.no_grad():
        for side in ("right", "left"):
            ids, mask, instruction = whole(rows, side)
            logits = tenants(ids, mask, instruction)
            for i, (name, (own, _)) in enumerate(zip(names, expected, strict=True)):
                gap = float((logits[i][mask[i]] - own).abs().max())
                assert gap < 2e-5, f"{name} is off by {gap:.2g} in a batch padded on the {side}"
        for beams in (1, 3):
            found = decoded(tenants, rows, beams)
            for name, tokens, (_, out) in zip(names, found, expected, strict=True):
                assert tokens == out[beams // 3], f"{name} writes something else, beams {beams}"
    tenants.detach()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_beside_the_bare_model(name):
    rows = examples(3)
    names = [None, name, None]
    expected = [alone("llama", n, text)[0] for n, text in zip(names, rows, strict=True)]
    assert float((expected[1] - alone("llama", None, rows[1])[0]).abs().max()) > 1e-3
    backbone = shared_backbone("llama")
    tenants = SharedBackbone(backbone)
    tenants.add(name, methods("llama")[name])
    ids, mask, instruction = whole(rows)
    with tenants.rows(names), torch.no_grad():
        logits = tenants(ids, mask, instruction)
    for i, own in enumerate(expected):
        torch.testing.assert_close(logits[i][mask[i]], own, atol=2e-5, rtol=0)
    tenants.detach()


def stepped(backbone, rows):
    """Logits (steps, B, beams, V) of decoding steps that feed every row the same tokens."""
    ids, mask = padded([t.instruction for t in rows])
    with torch.no_grad():
        _, state = backbone.prefill(ids, mask, beams=2)
        steps = [
            backbone.step(torch.tensor(pair * len(rows)), state)
            for pair in ([5, 6], [7, 8], [9, 5])
        ]
    return torch.stack(steps).unflatten(1, (len(rows), 2))


def check_steps(made, names, rows):
    """Check that each row's steps in a mixed batch are those with its method alone."""
    backbone = shared_backbone("llama")
    backbone.detach()
    expected = []
    for name, text in zip(names, rows, strict=True):
        if name is not None:
            made[name].attach(backbone)
        expected.append(stepped(backbone, [text])[:, 0])
        backbone.detach()
    tenants = SharedBackbone(backbone)
    for name in dict.fromkeys(filter(None, names)):
        tenants.add(name, made[name])
    with tenants.rows(names):
        found = stepped(tenants, rows)
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=2e-5, rtol=0)
    tenants.detach()


@pytest.mark.parametrize("name", METHODS)
def test_steps_beside_the_bare_model(name):
    check_steps(methods("llama"), [None, name, None], examples(3))


def test_steps_of_rows_whose_soft_columns_differ_from_block_to_block():
    dims = shared_backbone("llama").dims
    torch.manual_seed(5)
    made = {f"from {first}": IAPT(dims, 2, 8, first_block=first, init_std=0.5) for first in (0, 1)}
    check_steps({name: method.eval() for name, method in made.items()}, [*made, None], examples(3))


def test_gradients_of_a_batch_are_those_of_the_rows_alone():
    rows = examples(4)
    for name in ("iapt", "lora", "lpt", "p_tuning_v2"):
        method = methods("llama")[name]
        backbone = shared_backbone("llama")
        backbone.detach()
        method.attach(backbone)
        expected = torch.autograd.grad(
            backbone(*whole([rows[1]]))[0].logsumexp(-1).sum(), list(method.parameters())
        )
        backbone.detach()
        tenants = SharedBackbone(backbone)
        tenants.add("it", method)
        other = "bitfit" if name == "lora" else "lora"
        tenants.add("other", methods("llama")[other])
        ids, mask, instruction = whole(rows)
        for checkpointing in (False, True):
            tenants.checkpointing = checkpointing
            with tenants.rows(["other", "it", None, "other"]):
                logits = tenants(ids, mask, instruction)
                loss = logits[1][mask[1]].logsumexp(-1).sum()
                found = torch.autograd.grad(loss, list(method.parameters()))
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        tenants.detach()


def test_a_batch_of_one_tenant_or_none_is_exactly_that():
    rows = examples(4)
    backbone = shared_backbone("llama")
    backbone.detach()
    ids, mask, instruction = whole(rows)
    with torch.no_grad():
        bare = backbone(ids, mask, instruction)
        methods("llama")["iapt"].attach(backbone)
        attached = backbone(ids, mask, instruction)
        tenants = mixture("llama")
        with tenants.rows([None] * 4):
            assert torch.equal(tenants(ids, mask, instruction), bare)
        with tenants.rows(["iapt"] * 4):
            assert torch.equal(tenants(ids, mask, instruction), attached)
            with tenants.disabled():
                assert torch.equal(tenants(ids, mask, instruction), bare)
        tenants.detach()
        assert torch.equal(backbone(ids, mask, instruction), bare)


def test_tenants_act_again_when_they_are_added_after_a_detach():
    tenants, method = SharedBackbone(new_backbone("llama")), methods("llama")["lora"]
    batch = whole(examples(2))
    found = []
    for _ in range(2):
        tenants.add("a", method)
        with torch.no_grad():
            with tenants.rows(["a", None]):
                found.append(tenants(*batch))
            with tenants.rows([None, None]):
                bare = tenants(*batch)
        tenants.detach()
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[1][0], bare[0], atol=1e-3)


def test_decoding_goes_on_for_the_rows_it_began_with():
    tenants = mixture("llama")
    rows = examples(2)
    ids, mask = padded([t.instruction for t in rows])
    steps = torch.tensor([[5, 6], [7, 8]])

    def run(leave):
        with torch.no_grad():
            with tenants.rows(["lora", "p_tuning"]):
                _, state = tenants.prefill(ids, mask)
                if not leave:
                    return [tenants.step(t, state) for t in steps][-1]
            with tenants.rows([None]):
                state.keep(torch.tensor([1, 0]))
                return [tenants.step(t.flip(0), state) for t in steps][-1].flip(0)

    torch.testing.assert_close(run(leave=True), run(leave=False), atol=1e-5, rtol=0)
    tenants.detach()


def test_mistakes_are_named():
    tenants = SharedBackbone(new_backbone("llama"))
    torch.manual_seed(0)
    tenants.add("news", build_method(numbers("lora"), tenants.dims))
    tenants.add("mail", build_method(numbers("iapt"), tenants.dims))
    with (
        pytest.raises(
            AdapterError, match=r"'new' is unknown; there are news, mail, and None.*'news'"
        ),
        tenants.rows(["new"]),
    ):
        pass
    with pytest.raises(AdapterError, match="'news' already exists"):
        tenants.add("news", build_method(numbers("lora"), tenants.dims))
    with pytest.raises(AdapterError, match=r"by name: tenants.add\(name, method\)"):
        build_method(numbers("lora"), tenants.dims).attach(tenants)

    class Merged(Method):
        def attach(self, backbone):
            pass

    with pytest.raises(AdapterError, match="'m': Merged acts through none of the backbone's verbs"):
        tenants.add("m", Merged())
    ids, mask = padded([t.instruction for t in examples(2)])
    with pytest.raises(ZeroDivisionError), tenants.rows([None, None]):
        1 // 0  # noqa: B018
    with pytest.raises(AdapterError, match="2 rows, but tenants are named for 0"):
        tenants(ids, mask)
    nothing = torch.zeros_like(mask)
    with tenants.rows(["mail"] * 2), pytest.raises(BackboneError, match="an empty instruction"):
        tenants(ids, mask, nothing)
    with tenants.rows(["news"]), pytest.raises(AdapterError, match=r"2 rows.*named for 1"):
        tenants.prefill(ids, mask)


class Wide(Method):
    """Vectors wider than the backbone's numbers, at one of its places."""

    def __init__(self, dims, verb: str, place: tuple[object, ...]) -> None:
        super().__init__()
        self.verb, self.place = verb, place
        self.gain = torch.nn.Parameter(torch.full((dims.hidden_size,), 0.1, dtype=torch.float64))

    def attach(self, backbone):
        getattr(backbone, self.verb)(*self.place, lambda x, y: y * (1 + self.gain))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("verb", "place"), [("on_linear", (0, "q")), ("on_sublayer", (0, "ffn")), ("on_block", (0,))]
)
def test_what_a_function_returns_gets_the_dtype_of_the_stream(verb: str, place, dtype):
    backbone = new_backbone("llama", dtype=dtype)
    ids, mask = padded([t.instruction for t in examples(2)])
    with torch.no_grad():
        bare = backbone(ids, mask)
        method = Wide(backbone.dims, verb, place)
        method.attach(backbone)
        alone = backbone(ids, mask)
        backbone.detach()
        tenants = SharedBackbone(backbone)
        tenants.add("wide", method)
        with tenants.rows(["wide", None]):
            mixed = tenants(ids, mask)
    assert alone.dtype == mixed.dtype == dtype
    assert not torch.equal(alone[0], bare[0])
    torch.testing.assert_close(mixed, torch.stack([alone[0], bare[1]]), atol=0.05, rtol=0.05)
