"""Saved adapters on disk: found by the beginning of a name, checked before anything is imported or built."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from iapt import load_run
from iapt.backbone.config import BackboneConfig
from iapt.backbone.load import load_backbone
from iapt.configuration.catalog import entry
from iapt.entries import build_method
from iapt.errors import AdapterError
from iapt.methods.peft_format import save_peft
from iapt.trained.adapters import find_run, import_peft, read_saved
from tests.backbone.quantized_twins import KINDS
from tests.saved import save_adapter
from tests.tiny_runs import tiny_run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("method=lora", "backbone.dtype=auto", "hparams.eval_batch_tokens=2000")
    return tiny_run(tmp_path_factory.mktemp("adapters"), *words)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The adapter alone, to be damaged."""
    return Path(shutil.copytree(made / "adapter", tmp_path / "adapter"))


def folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name / "adapter").mkdir(parents=True)
        (root / name / "adapter" / "adapter_config.json").write_text("{}")


def test_a_run_is_found_by_the_beginning_of_its_name_or_a_pattern(tmp_path: Path):
    folders(tmp_path, "boolq--lora--seed1--aa", "boolq--lora--seed10--bb", "sst2--lora--seed1--cc")
    (tmp_path / "sst2--notes").mkdir()
    for name, found in (
        ("boolq--lora--seed1", "boolq--lora--seed1--aa"),
        ("boolq--lora--seed10", "boolq--lora--seed10--bb"),
        ("sst2", "sst2--lora--seed1--cc"),
        ("*seed10*", "boolq--lora--seed10--bb"),
        ("sst2--lora--seed1--cc", "sst2--lora--seed1--cc"),
    ):
        assert find_run(tmp_path / name).name == found


def test_several_runs_or_none_are_named(tmp_path: Path):
    folders(tmp_path, "boolq--a", "boolq--b")
    with pytest.raises(AdapterError, match="2 runs match; choose one: boolq--a, boolq--b"):
        find_run(tmp_path / "boolq")
    with pytest.raises(AdapterError, match=r"no such run; .* has boolq--a, boolq--b.*'boolq--a'"):
        find_run(tmp_path / "boolk--a")
    with pytest.raises(AdapterError, match="has none"):
        find_run(tmp_path / "nowhere" / "run")


def test_a_folder_that_holds_no_adapter_says_so(tmp_path: Path):
    with pytest.raises(AdapterError, match="neither a finished run"):
        read_saved(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"_target_": "evil.Method"}, r"evil\.Method"),
        ({"_target_": "iaptevil.Method"}, r"iaptevil\.Method"),
        ({"_target_": ["evil.Method"]}, "_target_"),
        ({"_target_": "iapt.files.write_text"}, "write_text"),
        ({"_target_": "iapt.methods.lora.Lora"}, "LoRA|Lora"),
        ({"rank": 10**9}, "rank|parameters"),
        ({"rank": 10**30}, "rank|parameters|size|int"),
        ({"rank": -1}, "rank"),
        ({"rank": "4"}, "rank"),
        ({"ranks": 4}, "rank"),
    ],
    ids=str,
)
def test_a_method_that_is_not_ours_or_cannot_be_is_refused_unbuilt(
    values: dict[str, object], message: str, copy: Path, monkeypatch: pytest.MonkeyPatch
):
    (copy.parent / "evil.py").write_text("raise SystemExit('imported')")
    (copy.parent / "iaptevil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(copy.parent))
    monkeypatch.chdir(copy.parent)
    file = copy / "adapter_config.json"
    config = json.loads(file.read_text())
    config["method"] |= values
    file.write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=message):
        read_saved(copy)
    assert "evil" not in sys.modules


def test_an_adapter_may_be_larger_than_a_tiny_backbone_but_not_by_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("iapt.trained.adapters.SMALL", 10**6)
    backbone = entry("backbone", "tiny_llama")
    dims = BackboneConfig.from_mapping(backbone).dims
    words = {"_target_": "iapt.methods.idpg.IDPG", "bottleneck_dim": 1024}
    method = build_method(words, dims)
    assert sum(p.numel() for p in method.parameters()) > dims.num_weights
    save_adapter(tmp_path, method, {"method": words, "backbone": backbone})
    assert read_saved(tmp_path).method.state_dict().keys() == method.state_dict().keys()
    save_adapter(
        tmp_path, method, {"method": words | {"bottleneck_dim": 65536}, "backbone": backbone}
    )
    with pytest.raises(AdapterError, match="4,194,304 parameters, more than the backbone"):
        read_saved(tmp_path)


@pytest.mark.parametrize("field", ["dims", "template", "kind"])
def test_a_backbone_that_is_none_is_refused(field: str, copy: Path):
    file = copy / "adapter_config.json"
    config = json.loads(file.read_text())
    config["backbone"][field] = {"family": []}
    file.write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=field):
        read_saved(copy)


def test_a_run_describes_the_dtype_that_it_found_and_how_it_decoded(made: Path):
    saved = read_saved(made)
    assert saved.run is not None
    assert saved.run["backbone"]["dtype"] == "auto"
    assert saved.config.backbone["dtype"] == "float32"
    assert saved.config.decoding.batch_tokens == 2000


def test_tensors_that_changed_after_training_are_refused(copy: Path):
    tensors = load_file(copy / "adapter.safetensors")
    next(iter(tensors.values())).flatten()[0] += 1
    save_file(tensors, copy / "adapter.safetensors", {"format": "pt"})
    with pytest.raises(AdapterError, match=r"adapter\.safetensors has changed since"):
        read_saved(copy)


def test_what_is_read_does_not_drop_out(made: Path):
    assert not any(module.training for module in read_saved(made).method.modules())


@pytest.mark.parametrize(
    ("file", "group", "values", "message"),
    [
        ("config.json", "method", {"rslora": True}, r"method\.rslora: the adapter has None"),
        ("config.json", "task", {"template": "Z {sentence}"}, r"task\.template: .*has 'Z {sen"),
        ("adapter/adapter_config.json", "trained", {"template": "Z"}, r"template: .* has 'Z', the"),
        ("config.json", "limit", {"test": "x"}, r"limit\.test='x': must be a whole number >= 1"),
        ("config.json", "limit", {"dev": -1}, r"config\.json: limit\.dev=-1: must be a whole"),
    ],
)
def test_what_was_changed_after_training_is_named(
    file: str, group: str, values: dict[str, object], message: str, made: Path, tmp_path: Path
):
    run = Path(shutil.copytree(made, tmp_path / "run"))
    config = json.loads((run / file).read_text())
    config[group] |= values
    (run / file).write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=message) as caught:
        read_saved(run)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_lora_that_peft_trained_becomes_an_adapter_of_ours(family: str, tmp_path: Path):
    backbone = entry("backbone", f"tiny_{family}")
    loaded = load_backbone(BackboneConfig.from_mapping(backbone), CPU)
    target = {"llama": "v_proj", "gpt2": "c_attn", "gpt_neox": "query_key_value"}[family]
    options = LoraConfig(target_modules=[target], r=2, task_type="CAUSAL_LM")
    options.fan_in_fan_out = family == "gpt2"
    model = get_peft_model(loaded.backbone.model, options).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.2 * torch.randn_like(p))
        ids = torch.arange(3, 40)[None]
        theirs = model(ids).logits
    model.save_pretrained(tmp_path / "peft")

    config = import_peft(tmp_path / "peft", tmp_path / "ours", backbone, CPU)
    assert (config.method["name"], config.method["rank"]) == ("lora", 2)
    ours = load_run(tmp_path / "ours", device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(ours.backbone(ids), theirs, atol=1e-5, rtol=0)
        with ours.bare():
            assert (ours.backbone(ids) - theirs).abs().max() > 1e-2
    assert ours.score("sst2", "sample", limit=2).n == 2
    with pytest.raises(AdapterError, match=r"of the peft library.*iapt-adapter import"):
        load_run(tmp_path / "peft", device="cpu")


@pytest.mark.parametrize(("kind", "shown"), [("VERA", "VERA"), ("LO\nHA" * 1000, r"'LO\\nHA.*'")])
def test_methods_of_pefts_that_nobody_here_has_are_named(kind: str, shown: str, tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(
        AdapterError, match=rf"peft_type={shown}: none of our methods.*ADALORA.*LORA"
    ) as caught:
        import_peft(tmp_path, tmp_path / "out", entry("backbone", "tiny_llama"), CPU)
    assert "\n" not in str(caught.value)
    assert "mean" not in str(caught.value), "a similar name is another method"
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "out").exists()


def test_a_long_name_of_the_base_model_is_cut(tmp_path: Path):
    backbone = entry("backbone", "tiny_llama")
    loaded = load_backbone(BackboneConfig.from_mapping(backbone), CPU)
    words = {"_target_": "iapt.methods.lora.LoRA"}
    save_peft(tmp_path / "p", build_method(words, loaded.backbone.dims), loaded.backbone, "x" * 10**5)  # fmt: skip
    config = import_peft(tmp_path / "p", tmp_path / "ours", backbone, CPU)
    assert len(config.trained["base_model"]) == 300


@pytest.mark.parametrize(("paper", "longest"), [(2048, 1024 - 5), (100, 100)])
def test_an_imported_adapter_reads_what_its_soft_tokens_and_the_paper_leave(
    paper: int, longest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    backbone = entry("backbone", "tiny_llama") | {"dtype": "auto"}
    loaded = load_backbone(BackboneConfig.from_mapping(backbone), CPU)
    words = entry("method", "p_tuning") | {"prompt_len": 5}
    method = build_method({k: v for k, v in words.items() if k != "tuned"}, loaded.backbone.dims)
    save_peft(tmp_path / "peft", method, loaded.backbone, None)
    monkeypatch.setattr("iapt.trained.adapters.PAPER_MAX_LENGTH", paper)
    config = import_peft(tmp_path / "peft", tmp_path / "ours", backbone, CPU)
    assert config.decoding.max_length == longest
    assert config.backbone["dtype"] == "float32", "the one that was found"


def scaled_twice(file: Path) -> None:
    """An IA3 whose two factors of the same inner state are finite, and their product is not."""
    place = "base_model.model.model.layers.0.mlp"
    size = BackboneConfig.from_mapping(entry("backbone", "tiny_llama")).dims.ffn_size
    large = {"up_proj": torch.full((size, 1), 1e30), "down_proj": torch.full((1, size), 1e30)}
    save_file({f"{place}.{module}.ia3_l": t for module, t in large.items()}, file)


@pytest.mark.parametrize(
    ("method", "damage", "message"),
    [
        ({"name": "lora", "rank": 32}, None, r"parameters, more than the backbone"),
        ({"name": "p_tuning", "prompt_len": 1024}, None, r"its 1,024 soft tokens leave no room"),
        ({"name": "p_tuning", "prompt_len": 1100}, None, r"in the 1,024 positions of the backbone"),
        ({"name": "ia3"}, scaled_twice, r"not finite in float32: blocks\.0\.up\.projection\."),
    ],
)
def test_what_no_command_could_load_is_not_imported(
    method, damage, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("iapt.trained.adapters.SMALL", 1)
    backbone = entry("backbone", "tiny_llama")
    loaded = load_backbone(BackboneConfig.from_mapping(backbone), CPU)
    words = {k: v for k, v in entry("method", method["name"]).items() if k != "tuned"} | method
    save_peft(tmp_path / "p", build_method(words, loaded.backbone.dims), loaded.backbone, None)
    if damage:
        damage(tmp_path / "p" / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=message) as caught:
        import_peft(tmp_path / "p", tmp_path / "ours", backbone, CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_an_imported_adapter_generates_in_the_few_positions_that_its_soft_tokens_leave(
    tmp_path: Path,
):
    backbone = entry("backbone", "tiny_llama")
    loaded = load_backbone(BackboneConfig.from_mapping(backbone), CPU)
    words = {k: v for k, v in entry("method", "p_tuning").items() if k != "tuned"}
    method = build_method(words | {"prompt_len": 1000}, loaded.backbone.dims)
    save_peft(tmp_path / "peft", method, loaded.backbone, None)
    import_peft(tmp_path / "peft", tmp_path / "ours", backbone, CPU)
    model = load_run(tmp_path / "ours", device="cpu")
    assert model.config.decoding.max_new_tokens == 6
    assert len(model.generate(["a"])) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_a_quantised_backbone_loads_on_it_and_on_no_other(kind: str, tmp_path: Path):
    folder = tiny_run(tmp_path, "method=lora", f"backbone.quantization={kind}")
    saved = read_saved(folder)
    assert saved.backbone.quantization == kind
    assert load_run(folder, device="cpu").generate(["a film"])
    for file in (folder / "config.json", folder / "adapter" / "adapter_config.json"):
        changed = json.loads(file.read_text())
        changed["backbone"]["quantization"] = None
        file.write_text(json.dumps(changed))
    with pytest.raises(
        AdapterError, match=r"a file of its checkpoint .*, its dtype or its quantiz"
    ):
        load_run(folder, device="cpu").generate(["a film"])
    row = json.loads((tmp_path / "results" / "rows" / f"{folder.name}.json").read_text())
    assert row["backbone"]["quantization"] == kind
    assert {"int8": "torchao", "nf4": "bitsandbytes"}[kind] in row["versions"]
