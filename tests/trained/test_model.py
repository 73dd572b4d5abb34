"""`load_run`: the trained model as it was, the frozen one beside it, other data scored without training."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from iapt import Tenants, load_run
from iapt.backbone.config import BackboneConfig
from iapt.backbone.load import load_backbone, load_tokenizer
from iapt.configuration.catalog import entry
from iapt.entries import NO_PLUGINS
from iapt.errors import AdapterError, ConfigError, DataError, StorageError
from iapt.evaluation import evaluate
from iapt.methods.saved import Decoding
from iapt.tasks.base import Split
from iapt.trained.model import decoding_with, to_score
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


def decode(run: Path, **values: int) -> None:
    """Let an adapter decode in another way."""
    file = run / "adapter" / "adapter_config.json"
    change(file, decoding=json.loads(file.read_text())["decoding"] | values)


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
        ({"max_new_tokens": 1024}, "must be less than the 1024 tokens"),
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


def test_as_many_beams_as_an_answer_has_first_tokens_are_allowed():
    assert decoding_with(Decoding(), 259, None, 259).num_beams == 259


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every score was computed with."""
    seen: list[dict[str, Any]] = []

    def noted(task: Any, examples: Any, encoded: Any, *rest: Any, **options: Any) -> Any:
        seen.append({"longest": max(len(e.instruction) for e in encoded), **options})
        return evaluate(task, examples, encoded, *rest, **options)

    monkeypatch.setattr("iapt.trained.model.evaluate", noted)
    return seen


def test_a_score_has_the_beams_of_its_run_of_its_task_or_those_asked_for(
    copy: Path, scored: list[dict[str, Any]]
):
    decode(copy, num_beams=2)
    model = load_run(copy, device="cpu")
    model.score(limit=1)
    model.score("boolq", "sample", limit=1)
    model.score(num_beams=1, limit=1)
    assert [each["num_beams"] for each in scored] == [2, 3, 1]


def test_prompts_are_cut_as_the_adapter_learned_them_with_room_for_the_tasks_own_answers(
    copy: Path, scored: list[dict[str, Any]]
):
    decode(copy, max_length=150)
    model = load_run(copy, device="cpu")
    with pytest.warns(UserWarning, match="1 of 1 texts cut to 146 tokens"):
        model.generate(["long " * 40])
    with pytest.warns(UserWarning, match="1 of 1 test prompts cut to 142 tokens"):
        model.score("rte", "sample", limit=1)
    assert 138 < scored[0]["longest"] <= 142
    with pytest.raises(ConfigError, match="max_new_tokens=192: must be less than the 150 tokens"):
        model.score("wikisql", "sample", limit=1)


def test_the_runs_limit_is_for_its_own_task_and_data_alone(runs: dict[str, Path]):
    run = json.loads((runs["lora"] / "config.json").read_text())

    def ids(
        task: str | None, data: str | None, split: Split, limit: int | None = None
    ) -> list[str]:
        made = to_score(run, NO_PLUGINS, task, data, split=split, limit=limit)[1]
        return [example.id for example in made]

    own = ids(None, None, "test")
    assert len(own) == 6
    assert len(ids(None, None, "test", 2)) == 2
    assert set(ids(None, None, "dev")).isdisjoint(own)
    assert len(ids("sst2", None, "test")) > 6
    assert len(ids(None, "sample", "test")) > 6


def test_a_folder_takes_the_place_of_a_tasks_own_and_other_sources_are_refused(
    runs: dict[str, Path], tmp_path: Path
):
    own, other = tmp_path / "own", tmp_path / "other" / "tickets"
    for folder, n in ((own, 3), (other, 4)):
        folder.mkdir(parents=True)
        row = json.dumps({"text": "it broke", "department": "delivery"}) + "\n"
        (folder / "test.jsonl").write_text(row * n)
    run = json.loads((runs["lora"] / "config.json").read_text())
    run["task"] = entry("task", "custom_example") | {"folder": str(own)}
    task = tmp_path / "mine.yaml"
    task.write_text(json.dumps(run["task"]))

    def count(run: dict[str, Any] | None, task: Path | None, data: Path | str | None) -> int:
        chosen = None if task is None else str(task)
        return len(to_score(run, NO_PLUGINS, chosen, data, split="test", limit=None)[1])

    assert [count(run, None, None), count(run, task, None), count(None, task, None)] == [3, 3, 3]
    assert [count(run, None, other.parent), count(None, task, other.parent)] == [4, 4]
    for named in ("sample", "hub"):
        with pytest.raises(ConfigError, match=rf"data={named}: custom_example has rows of its own"):
            count(run, None, named)
    trained_on_a_folder = run | {"data": {"name": "folder:other"}}
    with pytest.raises(ConfigError, match="the run was trained on folder:other"):
        count(trained_on_a_folder, None, None)


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
        with pytest.raises(
            AdapterError, match=r"not inside `with model\.bare\(\)`.*merge after it"
        ):
            model.merge()
        assert model.generate(TEXTS, max_new_tokens=8) == bare, "it stays bare"
    assert "merged" in repr(model), "as before the block"
    assert model.generate(TEXTS, max_new_tokens=8) == attached
    model.merge()
    model.unmerge()
    model.unmerge()
    assert all(torch.equal(v, weights[k]) for k, v in model.backbone.model.state_dict().items())
    assert model.generate(TEXTS, max_new_tokens=8) == attached
    prompted = load_run(runs["iapt"], device="cpu")
    with pytest.raises(AdapterError, match="IAPT cannot be merged"):
        prompted.merge()
    assert "merged" not in repr(prompted)


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


def test_saving_leaves_a_model_merged_or_not_as_it_was(runs: dict[str, Path], tmp_path: Path):
    model = load_run(runs["lora"], device="cpu")
    own = {k: v.clone() for k, v in model.backbone.model.state_dict().items()}
    (tmp_path / "mine.txt").touch()
    with pytest.raises(StorageError):
        model.save_merged(tmp_path)
    assert all(torch.equal(v, own[k]) for k, v in model.backbone.model.state_dict().items())
    model.merge()
    merged = {k: v.clone() for k, v in model.backbone.model.state_dict().items()}
    model.save_merged(tmp_path / "merged")
    assert all(torch.equal(v, merged[k]) for k, v in model.backbone.model.state_dict().items())


def test_a_checkpoint_that_has_moved_is_found_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny = BackboneConfig.from_mapping(entry("backbone", "tiny_llama"))
    load_backbone(tiny, torch.device("cpu")).backbone.model.save_pretrained(tmp_path / "here")
    load_tokenizer(tiny).save_pretrained(tmp_path / "here")
    place = f"+backbone.checkpoint={tmp_path / 'here'}"
    run = tiny_run(tmp_path, "method=lora", "backbone.kind=hub", place, "+backbone.revision=main")
    texts = load_run(run, device="cpu").generate(TEXTS)
    (tmp_path / "here").rename(tmp_path / "there")
    asked: list[BackboneConfig] = []

    def noted(config: BackboneConfig, device: torch.device) -> Any:
        asked.append(config)
        return load_backbone(config, device)

    monkeypatch.setattr("iapt.trained.model.load_backbone", noted)
    model = load_run(run, device="cpu", checkpoint=str(tmp_path / "there"))
    assert model.generate(TEXTS) == texts
    assert asked[0].revision is None, "the revision was of the old place"
    model.save_peft(tmp_path / "peft")
    saved = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == str(tmp_path / "there"), "where it is now"
    monkeypatch.chdir(tmp_path)
    tenants = Tenants.load({"anna": run}, device="cpu", checkpoint="there")
    assert tenants.generate(TEXTS, ["anna", "anna"], num_beams=3, max_new_tokens=4) == texts
    here = load_run(run, device="cpu", checkpoint="there")
    here.save_peft(tmp_path / "peft")
    saved = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == str(tmp_path / "there"), "not a name on the hub"


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


def test_a_method_of_the_users_is_imported_only_where_the_user_names_its_module(
    runs: dict[str, Path], tmp_path: Path
):
    plugin = tmp_path / "iapt_test_plugin.py"
    plugin.write_text(
        "from iapt.data.source import Sample\nfrom iapt.methods.lora import LoRA\n"
        "from iapt.tasks.classification import Classification\n\n"
        "class Mine(LoRA):\n    pass\n\nclass Rows(Sample):\n    pass\n\n"
        "class Films(Classification):\n    pass\n"
    )
    kinds = {"method": "Mine", "data": "Rows", "task": "Films"}
    words = [f"{group}._target_=iapt_test_plugin.{kind}" for group, kind in kinds.items()]
    words += [f"{group}.name=mine" for group in ("method", "task")]
    run = tiny_run(tmp_path, "method=lora", f"plugins={plugin}", *words)
    with pytest.raises(AdapterError, match=r"iapt_test_plugin\.Mine.*nothing was imported"):
        load_run(run, device="cpu")
    model = load_run(run, device="cpu", plugins=[str(plugin)])
    assert type(model.method).__name__ == "Mine"
    assert model.score(limit=1).n == 1
    assert Tenants.load({"mine": run}, device="cpu", plugins=[str(plugin)]).names == ("mine",)
    load_run(runs["lora"], device="cpu", plugins=[str(plugin)])  # trained without it: no warning
    plugin.write_text(plugin.read_text() + "# edited\n")
    with pytest.warns(UserWarning, match="iapt_test_plugin: its code has changed since training"):
        load_run(run, device="cpu", plugins=[str(plugin)])
