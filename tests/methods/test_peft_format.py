"""Adapters of the peft library: written for it and loaded by it, trained by it and read from it."""

import json
import warnings

import peft
import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig
from safetensors.torch import load_file, save_file

from iapt.backbone.dims import FAMILIES
from iapt.errors import AdapterError
from iapt.methods.adalora import AdaLoRA
from iapt.methods.houlsby import Houlsby
from iapt.methods.ia3 import IA3
from iapt.methods.lora import LoRA
from iapt.methods.p_tuning import PTuning
from iapt.methods.p_tuning_v2 import PTuningV2
from iapt.methods.peft_format import read_peft, save_peft
from iapt.methods.saved import fit
from iapt.methods.searched import serving_state
from tests.methods import by_hand
from tests.tiny import new_backbone

# What peft asks transformers for, and says of its own files.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*config file in nobody/tiny:UserWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

ATTENTION = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "gpt_neox": ["query_key_value"]}
EVERY = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}


def pruned_adalora(dims):
    method = by_hand.disturbed(AdaLoRA(dims, init_rank=6, target_rank=2))
    method._allocate(2 * sum(1 for _ in method.blocks.each()))
    fresh = AdaLoRA(dims, init_rank=6, target_rank=2)
    fit(fresh, {k: v.clone() for k, v in serving_state(method).items()}, "pruned")
    return fresh.eval()


OURS = {
    "LoRA": lambda dims: LoRA(dims, rank=3, alpha=5.0),
    "LoRA on o": lambda dims: LoRA(dims, sites=["o"]),
    "AdaLoRA": lambda dims: AdaLoRA(dims, alpha=40.0),
    "AdaLoRA, pruned": pruned_adalora,
    "IA3": IA3,
    "P-tuning": lambda dims: PTuning(dims, prompt_len=3, latent_dim=4),
    "P-tuning v2": lambda dims: PTuningV2(dims, prompt_len=3, latent_dim=4),
}


def logits_of(model):
    ids, mask = by_hand.tokens()
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask.long()).logits
    return found[:, -ids.shape[1] :][mask]  # a prompt's own positions come first


@pytest.mark.parametrize(
    ("family", "name"),
    # Prompts on GPT-2 are refused, see below.
    [(f, n) for f in FAMILIES for n in OURS if not (f == "gpt2" and n.startswith("P-tuning"))],
)
def test_peft_loads_what_we_wrote_and_computes_the_same_logits(family, name, tmp_path):
    backbone = new_backbone(family)
    bare = by_hand.own_logits(backbone)
    method = OURS[name](backbone.dims)
    if "pruned" not in name:
        by_hand.disturbed(method)
    ours = by_hand.own_logits(backbone, method)
    save_peft(tmp_path, method, backbone, "nobody/tiny")
    assert (ours - bare).abs().max() > 0.05

    theirs = peft.PeftModel.from_pretrained(new_backbone(family).model, tmp_path).eval()
    torch.testing.assert_close(logits_of(theirs), ours, atol=1e-5, rtol=0)

    config, tensors = read_peft(tmp_path)
    numbers, back = type(method).from_peft(config, tensors, backbone)
    again = type(method)(backbone.dims, **numbers)
    fit(again, back, tmp_path)
    torch.testing.assert_close(by_hand.own_logits(backbone, again.eval()), ours, atol=1e-5, rtol=0)


def test_the_configuration_says_what_was_trained(tmp_path):
    backbone = new_backbone("gpt2")
    save_peft(tmp_path, LoRA(backbone.dims, rank=3, alpha=6.0), backbone, "gpt2-large")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 3, 6.0)
    assert config["fan_in_fan_out"], "GPT-2 stores its weights as (in, out)"
    assert config["target_modules"] == ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    assert config["base_model_name_or_path"] == "gpt2-large"
    llama = new_backbone("llama")
    save_peft(tmp_path, LoRA(llama.dims, sites=["q", "v"]), llama, None)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["self_attn.q_proj", "self_attn.v_proj"]
    assert not config["fan_in_fan_out"]
    save_peft(tmp_path, AdaLoRA(llama.dims, init_rank=6, target_rank=2, alpha=5.0), llama, None)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["init_r"], config["target_r"], config["lora_alpha"]) == (6, 2, 5.0)


def trained_by_peft(family, config, folder, noise=0.1):
    """A folder as plain peft writes it, every tensor of the adapter being random; and its logits."""
    model = peft.get_peft_model(new_backbone(family).model, config).eval()
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(noise * torch.randn_like(parameter))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return logits_of(model)


def change_configuration(folder, **options):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | options))


def read_back(method, family, folder):
    backbone = new_backbone(family)
    numbers, tensors = method.from_peft(*read_peft(folder), backbone)
    made = method(backbone.dims, **numbers)
    fit(made, tensors, folder)
    return by_hand.own_logits(backbone, made.eval()), numbers


CAUSAL = {"task_type": "CAUSAL_LM"}
LORAS = {
    "every projection": lambda f: {"target_modules": EVERY[f], "r": 4, "lora_alpha": 8},
    "attention only": lambda f: {"target_modules": ATTENTION[f], "r": 2, "lora_alpha": 3},
    "rank-stabilised": lambda f: {"target_modules": ATTENTION[f], "r": 4, "use_rslora": True},
    "two blocks": lambda f: {"target_modules": ATTENTION[f], "layers_to_transform": [1, 3]},
    "own ranks and scales": lambda f: {
        "target_modules": EVERY[f],
        "r": 2,
        "rank_pattern": {EVERY[f][0]: 5, rf"\w+\.1\..*{EVERY[f][-1]}": 3},
        "alpha_pattern": {EVERY[f][-1]: 20},
    },
    "patterns with groups": lambda f: {
        "target_modules": EVERY[f],
        "rank_pattern": {f"({EVERY[f][0]}|{EVERY[f][1]})": 5},
        "alpha_pattern": {f"[0-1].*{EVERY[f][-1]}?": 20},
    },
    "trained with dropout": lambda f: {"target_modules": EVERY[f], "lora_dropout": 0.3},
}


@pytest.mark.parametrize("kind", LORAS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_that_plain_peft_trained_gives_the_same_logits_here(family, kind, tmp_path):
    options = LORAS[kind](family)
    theirs = trained_by_peft(family, LoraConfig(**options, **CAUSAL), tmp_path)
    ours, numbers = read_back(LoRA, family, tmp_path)
    assert (theirs - by_hand.own_logits(new_backbone(family))).abs().max() > 0.05
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    if kind == "attention only":
        assert (numbers["rank"], numbers["alpha"]) == (2, 3.0)
        assert numbers["sites"] == (["q", "v"] if family == "llama" else ["qkv"])


@pytest.mark.parametrize("family", FAMILIES)
def test_other_methods_that_plain_peft_trained_give_the_same_logits_here(family, tmp_path):
    adalora = AdaLoraConfig(
        init_r=4,
        target_r=2,
        lora_alpha=16,
        total_step=10,
        target_modules=ATTENTION[family],
        **CAUSAL,
    )
    ia3 = IA3Config(**CAUSAL)  # peft's own choice: on LLaMA keys, values, inner state
    twice = IA3Config(
        target_modules=["up_proj", "down_proj"], feedforward_modules=["down_proj"], **CAUSAL
    )
    prefix = PrefixTuningConfig(num_virtual_tokens=3, **CAUSAL)
    prompt = PromptTuningConfig(num_virtual_tokens=3, **CAUSAL)
    cases = [(AdaLoRA, adalora), (IA3, ia3)]
    if family != "gpt2":
        cases += [(PTuningV2, prefix), (PTuning, prompt)]
    if family == "llama":
        cases.append((IA3, twice))
    for number, (method, config) in enumerate(cases):
        folder = tmp_path / str(number)
        theirs = trained_by_peft(family, config, folder, noise=0.3)
        ours, _ = read_back(method, family, folder)
        gap = float((ours - theirs).abs().max())
        assert gap < 1e-5, f"{method.__name__} is off by {gap:.2g}"
    if family == "gpt2":
        trained_by_peft(family, prefix, tmp_path / "prefix")
        with pytest.raises(AdapterError, match="on GPT-2 have no counterpart in peft"):
            read_back(PTuningV2, family, tmp_path / "prefix")


def test_an_adalora_whose_target_rank_is_above_its_initial_rank_can_be_read(tmp_path):
    theirs = AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=["q_proj"], **CAUSAL)
    logits = trained_by_peft("llama", theirs, tmp_path, noise=0.3)
    change_configuration(tmp_path, target_r=8)  # peft's default, whatever init_r is
    ours, numbers = read_back(AdaLoRA, "llama", tmp_path)
    assert (numbers["init_rank"], numbers["target_rank"]) == (4, 4)
    torch.testing.assert_close(ours, logits, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match:RuntimeWarning")
def test_a_pruned_adalora_of_pefts_keeps_its_ranks(tmp_path):
    kept = [True, False, True, False]
    whole = AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=["q_proj"], **CAUSAL)
    trained_by_peft("llama", whole, tmp_path, noise=0.3)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    saved["rank_pattern"] = {f"model.layers.{i}.self_attn.q_proj.lora_E": kept for i in range(5)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(saved))
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    for name in tensors:
        tensors[name] = (tensors[name][:, kept] if "lora_B" in name else tensors[name][kept]).contiguous()  # fmt: skip
    save_file(tensors, tmp_path / "adapter_model.safetensors", {"format": "pt"})
    theirs = peft.PeftModel.from_pretrained(new_backbone("llama").model, tmp_path).eval()
    ours, numbers = read_back(AdaLoRA, "llama", tmp_path)
    assert numbers["init_rank"] == 4
    torch.testing.assert_close(ours, logits_of(theirs), atol=1e-5, rtol=0)


REFUSED = {
    "use_dora=True": {"use_dora": True},
    "bias='all'": {"bias": "all"},
    "bias='lora_only'": {"bias": "lora_only"},
    "modules_to_save=": {"modules_to_save": ["lm_head"]},
    "lora_bias=True": {"lora_bias": True},
    "init_lora_weights='pissa'": {"init_lora_weights": "pissa"},
    "task_type='SEQ_CLS'": {"task_type": "SEQ_CLS"},
    "trainable_token_indices=": {"trainable_token_indices": [1, 2]},
    "new_option_of_2027=3": {"new_option_of_2027": 3},
    r"'a\nb\x1b[31m'=1": {"a\nb\x1b[31m": 1},
    "and 37 more": {f"option_{n}": "x" * 10**5 for n in range(40)},
    "alpha_pattern='x'": {"alpha_pattern": "x"},
    "lora_alpha='8'": {"lora_alpha": "8"},
    "lora_alpha=nan": {"lora_alpha": float("nan")},
    "says 3": {"r": 3},
    "LORA: r=64: must be a number from 1 to 32": {"r": 64},
    "'(a+)+b' is too complex; allowed are": {"rank_pattern": {"(a+)+b": 3}},
    "'(m|m)(o|o)(d|d)(e|e)' is too complex": {"rank_pattern": {"(m|m)(o|o)(d|d)(e|e)": 3}},
    "'*' is not a regular expression": {"rank_pattern": {"*": 3}},
    "'[' is not a regular expression": {"alpha_pattern": {"[": 3}},
    "'q**' is not a regular expression": {"alpha_pattern": {"q**": 3}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_our_lora_cannot_represent_is_refused_by_name(message, tmp_path):
    trained_by_peft("llama", LoraConfig(target_modules=["q_proj"], **CAUSAL), tmp_path)
    change_configuration(tmp_path, **REFUSED[message])
    with pytest.raises(AdapterError) as caught:
        read_back(LoRA, "llama", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


OTHERS = {
    AdaLoRA: AdaLoraConfig(target_modules=["q_proj"], total_step=10, **CAUSAL),
    IA3: IA3Config(**CAUSAL),
    PTuning: PromptTuningConfig(num_virtual_tokens=3, **CAUSAL),
    PTuningV2: PrefixTuningConfig(num_virtual_tokens=3, **CAUSAL),
}


@pytest.mark.parametrize("method", OTHERS)
def test_options_that_the_other_methods_cannot_represent_are_refused_by_name(method, tmp_path):
    trained_by_peft("llama", OTHERS[method], tmp_path)
    for option in ({"modules_to_save": ["lm_head"]}, {"new_option_of_2027": 3}):
        change_configuration(tmp_path, **{"modules_to_save": None} | option)
        (name,) = option
        with pytest.raises(AdapterError, match=f"our method cannot represent {name}="):
            read_back(method, "llama", tmp_path)


@pytest.mark.parametrize(
    ("family", "module"), [("llama", "o_proj"), ("llama", "gate_proj"), ("gpt2", "c_fc")]
)
def test_rescaled_modules_that_our_ia3_leaves_alone_are_refused(family, module, tmp_path):
    kept = "k_proj" if family == "llama" else "c_attn"
    config = IA3Config(target_modules=[kept, module], feedforward_modules=[], **CAUSAL)
    trained_by_peft(family, config, tmp_path)
    with pytest.raises(AdapterError, match=rf"{module}\.ia3_l: in block 0, our IA3 rescales only"):
        read_back(IA3, family, tmp_path)


@pytest.mark.parametrize("method", [PTuning, PTuningV2])
def test_a_file_with_more_than_the_prompt_is_refused(method, tmp_path):
    trained_by_peft("llama", OTHERS[method], tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file(load_file(file) | {"lm_head": torch.ones(2, 2)}, file, {"format": "pt"})
    with pytest.raises(AdapterError, match=r"only prompt_embeddings; it contains lm_head, prompt"):
        read_back(method, "llama", tmp_path)


def rename(tensors):
    return {k.replace("q_proj", "lm_head"): v for k, v in tensors.items()}


def disguise(tensors):
    return {k.replace("q_proj", "q\n\x1b[31m" * 1000): v for k, v in tensors.items()}


def drop(tensors):
    return {k: v for k, v in tensors.items() if "layers.2" not in k or "lora_B" not in k}


def widen(tensors):
    return {k: v if "lora_A" not in k else torch.zeros(8, 99) for k, v in tensors.items()}


def whole_numbers(tensors):
    return {k: v.int() for k, v in tensors.items()}


def infinite(tensors):
    return {k: v * torch.inf for k, v in tensors.items()}


def flat(tensors):
    return {k: v.flatten() for k, v in tensors.items()}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rename, "lm_head.lora_A.weight belongs to none"),
        (disguise, r"q\\n\\x1b.*belongs to none"),
        (drop, r"block 2, 'q': lora_B.weight is missing"),
        (widen, r"float32 \(8, 99\); it must be floating point \(8, 32\)"),
        (whole_numbers, "int32"),
        (infinite, "not finite"),
        (flat, r"\(256,\); it must be a matrix"),
        (lambda tensors: {}, "no tensors"),
    ],
)
def test_a_damaged_file_of_pefts_is_refused_in_one_line(damage, message, tmp_path):
    trained_by_peft("llama", LoraConfig(target_modules=["q_proj"], **CAUSAL), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = damage({k: v.clone() for k, v in load_file(file).items()})
    save_file({k: v.contiguous() for k, v in tensors.items()}, file, {"format": "pt"})
    with pytest.raises(AdapterError, match=message) as caught:
        read_back(LoRA, "llama", tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_pickled_tensors_are_never_read(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(AdapterError, match="a pickle, which runs code"):
        read_peft(tmp_path)


def test_methods_that_peft_lacks_refuse_by_name(tmp_path):
    backbone = new_backbone("llama")
    with pytest.raises(AdapterError, match="Houlsby has no counterpart in peft"):
        save_peft(tmp_path, Houlsby(backbone.dims), backbone, "nobody/tiny")
    assert not list(tmp_path.iterdir())
