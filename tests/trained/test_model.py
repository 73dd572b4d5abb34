"""`load_run`: the trained model as it was, the frozen one beside it, other data scored without training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from iapt import load_run
from iapt.errors import AdapterError, ConfigError, DataError
from tests.tiny_runs import tiny_run

TEXTS = ["a fine film", "it never ends , and who would want it to"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of a method that can be merged and of one that cannot."""
    folder = tmp_path_factory.mktemp("trained")
    return {name: tiny_run(folder, f"method={name}") for name in ("lora", "iapt")}


@pytest.fixture
def copy(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(runs["lora"], tmp_path / "run"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("name", ["lora", "iapt"])
def test_the_score_is_the_runs_own(runs: dict[str, Path], name: str):
    model = load_run(runs[name], device="cpu")
    found = model.evaluate()
    stored = json.loads((runs[name] / "scores.json").read_text())
    assert found.scores.value == stored["value"]
    lines = (runs[name] / "predictions.jsonl").read_text().splitlines()
    assert found.outputs == [json.loads(line)["output"] for line in lines]


@pytest.mark.parametrize("name", ["lora", "iapt"])
def test_bare_is_the_frozen_model_and_afterwards_the_method_is_back(
    runs: dict[str, Path], name: str
):
    model = load_run(runs[name], device="cpu")
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        trained = model.backbone(ids)
        with model.bare() as same:
            assert same is model
            bare = model.backbone(ids)
            untouched = model.backbone.model(ids).logits
            texts = model.generate(TEXTS, max_new_tokens=6)
        assert torch.equal(model.backbone(ids), trained)
    torch.testing.assert_close(bare, untouched, atol=1e-5, rtol=0)
    assert (trained - bare).abs().max() > 1e-2
    assert texts != model.generate(TEXTS, max_new_tokens=6)


def test_texts_go_into_the_chat_template_unless_they_are_rendered(runs: dict[str, Path]):
    model = load_run(runs["lora"], device="cpu")
    template = model.config.backbone["template"]
    rendered = [template.format(query=text) for text in TEXTS]
    assert model.generate(rendered, rendered=True) == model.generate(TEXTS)
    assert model.generate(rendered) != model.generate(TEXTS)
    assert model.generate([]) == []


def test_the_runs_own_way_of_decoding_is_the_default(runs: dict[str, Path]):
    model = load_run(runs["lora"], device="cpu")
    own = model.config.decoding
    assert (own.num_beams, own.max_new_tokens) == (3, 4)
    assert model.generate(TEXTS) == model.generate(TEXTS, num_beams=3, max_new_tokens=4)
    longer = model.generate(TEXTS, max_new_tokens=9)
    assert longer != model.generate(TEXTS)


def test_wrong_arguments_of_generate_are_named(runs: dict[str, Path]):
    model = load_run(runs["lora"], device="cpu")
    for options, message in (
        ({"num_beams": 0}, "num_beams=0"),
        ({"num_beams": 2**31}, "num_beams=2147483648: must be at most 259"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
        ({"max_new_tokens": 5000}, "must be less than the 1024 tokens"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.generate(TEXTS, **options)
    with pytest.raises(ConfigError, match="a list of texts"):
        model.generate("one text")
    with pytest.warns(UserWarning, match="1 of 2 texts cut to"):
        model.generate(["short", "long " * 400], max_new_tokens=2)


def test_another_split_task_or_folder_is_scored_without_training(
    runs: dict[str, Path], tmp_path: Path
):
    model = load_run(runs["lora"], device="cpu")
    before = {k: v.clone() for k, v in model.method.state_dict().items()}
    assert model.score(split="dev").n == 4, "the run's own limit"
    boolq = model.score("boolq", "sample", limit=3)
    assert (boolq.metric, boolq.n) == ("acc", 3)

    (tmp_path / "tickets").mkdir()
    row = {"text": "it broke", "department": "delivery"}
    for split in ("train", "test"):
        (tmp_path / "tickets" / f"{split}.jsonl").write_text((json.dumps(row) + "\n") * 5)
    task = tmp_path / "mine.yaml"
    task.write_text(
        "_target_: iapt.tasks.custom.Custom\nname: mine\ndataset: tickets\nfolder: null\n"
        "template: '{text}'\nresponse: department\nmetric: exact-match\n"
        "split: {rule: hold_out, rows: 1, test: test}\nmax_new_tokens: 3\n"
    )
    assert model.score(str(task), tmp_path).n == 5, "no limit on data of another's"
    assert all(torch.equal(v, before[k]) for k, v in model.method.state_dict().items())


def test_what_cannot_be_scored_is_named(runs: dict[str, Path], tmp_path: Path):
    model = load_run(runs["lora"], device="cpu")
    with pytest.raises(ConfigError, match=r"task=bolq: there is no such task.*'boolq'"):
        model.score("bolq")
    with pytest.raises(ConfigError, match="split='tst'"):
        model.score(split="tst")
    with pytest.raises(DataError, match="has no data set 'sst2'"):
        model.score(data=tmp_path)
    evil = tmp_path / "evil.yaml"
    evil.write_text("_target_: os.system\ncommand: exit 3\n")
    with pytest.raises(ConfigError, match=r"os.system.*must be in"):
        model.score(str(evil))
    alone = load_run(runs["lora"] / "adapter", device="cpu")
    with pytest.raises(ConfigError, match="name a task"):
        alone.score()
    with pytest.raises(ConfigError, match="data: give a folder"):
        alone.score("sst2")
    assert alone.score("sst2", "sample", limit=2).n == 2


def test_an_adapters_folder_alone_gives_the_same_texts(runs: dict[str, Path], tmp_path: Path):
    model = load_run(runs["iapt"], device="cpu")
    alone = load_run(shutil.copytree(runs["iapt"] / "adapter", tmp_path / "alone"), device="cpu")
    assert alone.run is None
    assert alone.generate(TEXTS) == model.generate(TEXTS)


def test_merging_changes_no_text_and_can_be_undone(runs: dict[str, Path]):
    model = load_run(runs["lora"], device="cpu")
    weights = {k: v.clone() for k, v in model.backbone.model.state_dict().items()}
    attached = model.generate(TEXTS, max_new_tokens=8)
    with model.bare():
        bare = model.generate(TEXTS, max_new_tokens=8)
    model.merge()
    assert any(not torch.equal(v, weights[k]) for k, v in model.backbone.model.state_dict().items())
    assert model.generate(TEXTS, max_new_tokens=8) == attached
    with model.bare():
        assert model.generate(TEXTS, max_new_tokens=8) == bare, "bare is bare when merged, too"
    assert model.generate(TEXTS, max_new_tokens=8) == attached
    model.merge()
    model.unmerge()
    model.unmerge()
    assert all(torch.equal(v, weights[k]) for k, v in model.backbone.model.state_dict().items())
    assert model.generate(TEXTS, max_new_tokens=8) == attached
    with pytest.raises(AdapterError, match="IAPT cannot be merged"):
        load_run(runs["iapt"], device="cpu").merge()


def test_the_merged_folder_loads_without_us_and_gives_the_same_logits(
    runs: dict[str, Path], tmp_path: Path
):
    model = load_run(runs["lora"], device="cpu")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        ours = model.backbone(ids)
        model.save_merged(tmp_path / "merged")
        assert torch.equal(model.backbone(ids), ours), "the model itself is as it was"
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(plain(ids).logits, ours, atol=1e-5, rtol=0)


def test_an_adapter_for_other_weights_is_refused_with_both_fingerprints(copy: Path):
    own = json.loads((copy / "adapter" / "adapter_config.json").read_text())["backbone_fingerprint"]
    change(copy / "adapter" / "adapter_config.json", backbone_fingerprint="0123456789abcdef")
    with pytest.raises(AdapterError, match=f"tiny_llama.*0123456789abcdef.*{own}"):
        load_run(copy, device="cpu")


def test_a_run_whose_files_disagree_is_refused_and_what_differs_is_named(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config["backbone"]["template"] = "Q: {query}"
    config["method"]["rank"] = 8
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError) as caught:
        load_run(copy, device="cpu")
    assert "method.rank: the adapter has 4, the run's config.json has 8" in str(caught.value)
    assert "backbone.template: the adapter has '[INST] {query}[/INST]'" in str(caught.value)


def test_a_device_that_is_not_there_is_named(runs: dict[str, Path]):
    with pytest.raises(ConfigError, match="cpuu"):
        load_run(runs["lora"], device="cpuu")


def test_a_method_of_the_users_is_imported_only_where_the_user_names_its_module(tmp_path: Path):
    plugin = tmp_path / "iapt_test_plugin.py"
    plugin.write_text("from iapt.methods.lora import LoRA\n\nclass Mine(LoRA):\n    pass\n")
    words = ("method=lora", "method._target_=iapt_test_plugin.Mine", f"plugins={plugin}")
    run = tiny_run(tmp_path, *words)
    with pytest.raises(AdapterError, match=r"iapt_test_plugin\.Mine.*nothing was imported"):
        load_run(run, device="cpu")
    model = load_run(run, device="cpu", plugins=[str(plugin)])
    assert type(model.method).__name__ == "Mine"
    plugin.write_text(plugin.read_text() + "# edited\n")
    with pytest.warns(UserWarning, match="iapt_test_plugin: its code has changed since training"):
        load_run(run, device="cpu", plugins=[str(plugin)])
