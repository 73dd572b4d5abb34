"""Plans: what a run is called, what makes two runs the same, and every mistake before a model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from iapt.backbone.device import device_named
from iapt.data.hub import Hub
from iapt.data.source import Sample
from iapt.entries import build_method, build_source
from iapt.errors import ConfigError, DataError
from iapt.planning import make_plan
from tests.composed import composed

TINY = ("task=sst2", "backbone=tiny_llama", "device=cpu")


def config(*overrides: str, **changes: Any) -> dict[str, Any]:
    return composed(*TINY, *overrides) | changes


def test_the_run_is_named_by_its_cell_and_hash():
    plan = make_plan(config("method=lora", "seed=3"))
    start = "sst2--tiny_llama--lora--quick--sample--seed3--"
    assert plan.run_id == start + plan.config_hash[:8]
    assert plan.cell == {
        "task": "sst2",
        "backbone": "tiny_llama",
        "method": "lora",
        "hparams": "quick",
        "data": "sample",
        "seed": 3,
        "variant": "",
    }
    named = make_plan(config("method=iapt", "variant=iapt_4"))
    assert "--iapt--iapt_4--quick--" in named.run_id


def test_seeds_share_a_cell_and_methods_share_a_setting():
    plan = make_plan(config("method=lora"))
    seed = make_plan(config("method=lora", "seed=1"))
    other = make_plan(config("method=iapt", "task=rte"))
    longer = make_plan(config("method=lora", "hparams.max_steps=99"))
    assert plan.config_hash != seed.config_hash
    assert plan.cell_hash == seed.cell_hash != longer.cell_hash
    assert plan.setting_hash == seed.setting_hash == other.setting_hash != longer.setting_hash


@pytest.mark.parametrize(
    "word", ["lr=3e-3", "lr_by_name={lora_A: 1e-3}", "arch_lr=1e-2", "arch_every=3"]
)
def test_methods_with_rates_of_their_own_share_a_setting(word: str):
    """Each method may have tuned rates; all other numbers must agree."""
    plan = make_plan(config("method=lora"))
    tuned = make_plan(config("method=lora", f"hparams.{word}"))
    assert tuned.cell_hash != plan.cell_hash
    assert tuned.setting_hash == plan.setting_hash


@pytest.mark.parametrize(
    "word", ["clip=2", "warmup=0.1", "weight_decay=0.1", "arch_data=train_split"]
)
def test_other_numbers_make_another_setting(word: str):
    plan = make_plan(config("method=lora"))
    assert make_plan(config("method=lora", f"hparams.{word}")).setting_hash != plan.setting_hash


def test_where_a_run_goes_is_not_what_it_is():
    plan = make_plan(config("method=lora"))
    elsewhere = make_plan(config("method=lora", "out=x", "rows=y", "force=true", "logger=wandb"))
    assert plan.run_id == elsewhere.run_id


def test_the_trained_parameters_are_counted_without_weights():
    plan = make_plan(config("method=lora", "backbone=llama2_7b"))
    assert plan.trainable == 9_994_240
    assert plan.max_length == 2048


def test_gpt2_large_leaves_1020_tokens_beside_four_soft_ones():
    assert make_plan(config("method=iapt", "backbone=gpt2_large")).max_length == 1020
    assert make_plan(config("method=lora", "backbone=gpt2_large")).max_length == 1024


WRONG: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    (("method.prompt_len=0",), {}, r"method\.prompt_len=0: must be a whole number >= 1"),
    (("method.prompt_len=four",), {}, r"method\.prompt_len='four': must be a whole number"),
    (("method.prompt_len=2.5",), {}, r"method\.prompt_len=2\.5: must be a whole number"),
    (("method.hide_from_first=1",), {}, r"method\.hide_from_first=1: must be true or false"),
    (("method.activation=3",), {}, r"method\.activation=3: must be text or a list"),
    (("+method.promt_len=4",), {}, r"method\.promt_len: unknown.*Did you mean 'prompt_len'"),
    (("method._target_=iapt.methods.iapt.IAPTT",), {}, r"method\._target_='iapt\.methods"),
    (("method._target_=iapt.training.hparams.HParams",), {}, "method"),
    (("method=lora", "variant=iapt_1"), {}, r"method\.pooler: unknown; allowed are rank"),
    (("method=lora", "variant=iapt_1"), {}, r"variant=iapt_1: .*is it meant for method=lora"),
    (
        ("data._target_=os.system", "+data.command=x"),
        {},
        r"data\._target_='os\.system': must be in iapt",
    ),
    (("task._target_=builtins.dict",), {}, r"task\._target_='builtins\.dict': must be in iapt"),
    (("method._target_=iapt.cli.train.main",), {}, r"method\._target_=.*is not a class"),
    (
        ("logger=wandb", "logger.mode=foo"),
        {},
        r"logger\.mode='foo': allowed are auto, offline, online",
    ),
    (("method._target_=5",), {}, r"method\._target_=5: must be the dotted name"),
    (("method.name=null",), {}, r"method\.name=None: must be a name for files"),
    (("task.name=a/b",), {}, r"task\.name='a/b': must be a name for files"),
    (("backbone.name=../x",), {}, r"backbone\.name='\.\./x': must be a name for files"),
    ((), {"variant": "a/b"}, r"variant='a/b': must be a name for files"),
    ((), {"task": None}, r"task=None: must be a mapping"),
    ((), {"hparams": 3}, r"hparams=3: must be a mapping with name, lr"),
    (("hparams.num_beams=260",), {}, r"hparams\.num_beams=260: must be at most 259"),
    (("task.num_beams=100000",), {}, r"task\.num_beams=100000: must be at most 259"),
    (("backbone.template=x",), {}, r"backbone\.template='x': needs the field \{query\} once"),
    (
        ("method=lora", "hparams.lr_by_name={lora_C: 1e-3}"),
        {},
        r"hparams\.lr_by_name\.lora_C: no parameter of LoRA .*Did you mean 'lora_[AB]'",
    ),
    (
        ("seed=99999999999999999999999",),
        {},
        r"seed=9+: must be a whole number >= 0 and < 4294967296",
    ),
    (("+promt=1",), {}, r"promt: unknown; allowed are task, backbone"),
    ((), {"plugins": "nowhere_at_all"}, r"plugins=nowhere_at_all: no such module"),
    ((), {"plugins": 5}, r"plugins=5: must be text that is not empty or a list or null"),
    (("method=lora", "method.rank=0"), {}, r"method\.rank=0"),
    (("+method.tuned.lrr=1",), {}, r"method\.tuned\.lrr: unknown; .*Did you mean 'lr'"),
    (("method.tuned.lr=0", "hparams=paper"), {}, r"method\.tuned\.lr=0: must be a positive number"),
    (("+method._partial_=true",), {}, r"method\._partial_: unknown"),
    (("task.sizes.train=-1",), {}, r"task\.sizes\.train=-1: must be a whole number >= 1"),
    (("backbone.dims.num_layers=1000000000",), {}, r"num_layers=1000000000: must be .* <= 1024"),
    (("hparams.lr=fast",), {}, r"hparams\.lr='fast': must be a positive number"),
    (("backbone.attn=flash",), {}, r"backbone\.attn='flash'.*sdpa, eager"),
    (("backbone.dims.num_layers=deep",), {}, r"backbone\.dims\.num_layers='deep'"),
    (
        ("backbone=gpt2_large", "hparams.max_length=1025"),
        {},
        r"hparams\.max_length=1025: .* 1020 positions .*at most 1020",
    ),
    (("hparams.max_length=4",), {}, r"task\.max_new_tokens=4: must be less than the 4"),
    (("task.max_new_tokens=lots",), {}, r"task.*max_new_tokens"),
    (("seed=-1",), {}, r"seed=-1: must be a whole number >= 0"),
    (("seed=true",), {}, r"seed=True"),
    (("limit.train=0",), {}, r"limit\.train=0: must be a whole number >= 1, or null"),
    (("limit.dev=some",), {}, r"limit\.dev='some'"),
    ((), {"limit": 30}, r"limit=30: must be a mapping with train, dev, test"),
    (("force=maybe",), {}, r"force='maybe': must be true or false"),
    (("out=3",), {}, r"out=3: must be text"),
    (("device=gpu",), {}, r"device='gpu': allowed are auto, cpu, cuda"),
]


@pytest.mark.parametrize(("words", "changes", "message"), WRONG)
def test_a_wrong_setting_is_named(words: tuple[str, ...], changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        make_plan(config(*words, **changes))


def test_every_mistake_is_told_at_once_and_each_once():
    words = ("method=lora", "method.rank=0", "hparams.lr=0", "task.num_beams=x", "device=gpu")
    with pytest.raises(ConfigError) as caught:
        make_plan(config(*words, "backbone.dims.num_layers=0", seed=-1))
    found = str(caught.value).splitlines()
    assert [line.split("=")[0] for line in found] == [
        "backbone.dims.num_layers", "hparams.lr", "seed", "device", "task.num_beams"
    ]  # fmt: skip


def test_without_a_number_a_setting_is_missing_by_name():
    left = {key: value for key, value in config().items() if key not in ("seed", "limit")}
    with pytest.raises(ConfigError, match=r"seed: missing; it must be a whole number"):
        make_plan(left)


def test_a_folder_of_data_whose_name_no_run_can_bear_is_refused(tmp_path: Path):
    folder = tmp_path / ("x" * 200)
    shutil.copytree(Sample().path / "sst2", folder / "sst2")
    with pytest.raises(
        ConfigError, match=r"has \d+ bytes, at most 200 are allowed; give shorter names"
    ):
        make_plan(config("data=folder", f"data.path={folder}"))
    odd = folder.rename(tmp_path / "a\nb")
    with pytest.raises(ConfigError, match=r"data\.path: the folder's name"):
        make_plan(config(data={"_target_": "iapt.data.source.Folder", "path": str(odd)}))


@pytest.mark.parametrize("key", ["out", "rows"])
def test_a_folder_that_cannot_be_written_is_named_before_the_run(key: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    plan = make_plan(config(**{key: str(tmp_path / "file" / "below")}))
    other = {"out": "rows", "rows": "out"}[key]
    plan.config[other] = str(tmp_path / other)
    with pytest.raises(
        ConfigError, match=rf"{key}=.*below: the folder cannot be written \(Not a directory"
    ):
        plan.check_folders()
    plan.config[key] = str(tmp_path / key / "deep")
    plan.check_folders()
    assert list((tmp_path / key / "deep").iterdir()) == []


def test_cuda_without_a_device_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device=cuda: .*use device=cpu"):
        make_plan(config(device="cuda"))
    assert make_plan(config(device="auto")).device.type == "cpu"


def test_a_folder_without_the_data_set_or_split_is_named(tmp_path: Path):
    words = ("data=folder", f"data.path={tmp_path}")
    (tmp_path / "sts2").mkdir()
    (tmp_path / "sts2" / "train.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"no data set 'sst2'; it has sts2.*Did you mean 'sts2'"):
        make_plan(config(*words))
    shutil.copytree(Sample().path / "sst2", tmp_path / "sst2")
    (tmp_path / "sst2" / "validation.jsonl").unlink()
    with pytest.raises(DataError, match=r"no validation\.jsonl; it has train"):
        make_plan(config(*words)).examples()


def test_limits_take_a_part_of_each_split():
    plan = make_plan(config("limit.train=20", "limit.dev=5"))
    sizes = {split: len(examples) for split, examples in plan.examples().items()}
    assert (sizes["train"], sizes["dev"]) == (20, 5)
    assert sizes["test"] > 5


def test_building_passes_values_and_names_all_that_is_wrong(tmp_path: Path):
    folder = build_source(
        {"_target_": "iapt.data.source.Folder", "path": str(tmp_path), "name": "x"}
    )
    assert folder.name == "x"
    with pytest.raises(ConfigError) as caught:
        build_source({"_target_": "iapt.data.source.Folder", "name": 3, "nmae": "."})
    assert str(caught.value).splitlines() == [
        "data.path: missing; it must be text.",
        "data.name=3: must be text or null.",
        "data.nmae: unknown; allowed are path, name. Did you mean 'name'?",
    ]


def test_the_plan_has_the_logger_and_the_numbers_of_training(tmp_path: Path):
    plan = make_plan(config("logger=wandb", "hparams.lr=0.25"))
    assert type(plan.logger).__name__ == "Wandb"
    assert plan.hparams.lr == 0.25


def test_the_formula_that_counts_a_methods_parameters_is_no_part_of_what_runs():
    values = config("method=lora")
    assert "size" in values["method"]
    without = values | {"method": {k: v for k, v in values["method"].items() if k != "size"}}
    plan = make_plan(values)
    assert plan.run_id == make_plan(without).run_id
    assert sum(p.numel() for p in build_method(values["method"], plan.backbone.dims).parameters())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"device": ...}, "device: missing"),
        ({"plugins": 5}, "plugins=5: must be text"),
        ({"device": 5}, "device=5: must be text"),
        ({"device": "x"}, "device='x': allowed are"),
        ({"backbone": {"name": "bare"}}, "backbone.dims: missing"),
    ],
)
def test_one_mistake_gives_one_line_about_it(changes: dict[str, Any], fault: str):
    values = {k: v for k, v in (config() | changes).items() if v is not ...}
    with pytest.raises(ConfigError) as caught:
        make_plan(values)
    lines = str(caught.value).splitlines()
    about = [line for line in lines if line.startswith(fault)]
    assert len(about) == 1
    key = next(iter(changes))
    assert all(line.startswith(key) for line in lines)
    assert key == "backbone" or len(lines) == 1


def test_an_entry_that_is_no_mapping_is_told_how_it_is_given():
    with pytest.raises(ConfigError, match="task=5: must be a mapping, such as task=<entry> gives"):
        make_plan(config(task=5))


def test_every_unknown_rate_is_told_on_a_line_with_the_names_there_are():
    with pytest.raises(ConfigError) as caught:
        make_plan(config("method=lora", "hparams.lr_by_name={lora_C: 1e-3, xyz: 1e-3}"))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "hparams.lr_by_name.lora_C",
        "hparams.lr_by_name.xyz",
    ]
    assert all("lora_A, lora_B" in line for line in lines)


def test_as_many_beams_as_there_are_tokens_are_allowed():
    assert make_plan(config("hparams.num_beams=259")).hparams.num_beams == 259


def test_the_longest_answer_must_fit_beside_the_methods_soft_tokens():
    assert make_plan(config("method=iapt")).max_length == 1020
    assert make_plan(config("method=iapt", "task.max_new_tokens=1019")).task.max_new_tokens == 1019
    message = (
        r"task\.max_new_tokens=1020: .* less than the 1020 tokens.*task\.max_new_tokens=255\.$"
    )
    with pytest.raises(ConfigError, match=message):
        make_plan(config("method=iapt", "task.max_new_tokens=1020"))


def test_a_gpu_is_named_by_its_number_and_auto_takes_the_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_named("cuda:1") == torch.device("cuda", 1)
    assert device_named("auto").type == device_named("cuda").type == "cuda"
    assert device_named("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:", "cuda:one", "cuda:-1", "12345", "cuda1", "CUDA", ""])
def test_what_is_no_device_is_refused_where_a_gpu_is_too(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"allowed are auto, cpu, cuda, cuda:N"):
        device_named(name)


def test_the_sizes_of_data_not_fetched_yet_are_those_released(tmp_path: Path):
    hub = ("data=hub", f"data.root={tmp_path}")
    whole = make_plan(config(*hub, "limit={train: null, dev: null, test: null}"))
    assert whole.sizes() == {"train": 66_349, "dev": 1000, "test": 872}
    some = make_plan(config(*hub, "limit={train: 10, dev: 5000, test: 7}"))
    assert some.sizes() == {"train": 10, "dev": 1000, "test": 7}
    assert list(tmp_path.iterdir()) == [], "nothing was fetched"


def test_the_sizes_of_data_that_is_there_are_counted(tmp_path: Path):
    plan = make_plan(config("limit.train=5"))
    assert plan.sizes() == {split: len(rows) for split, rows in plan.examples().items()}
    assert plan.sizes()["train"] == 5


def test_the_sizes_of_data_fetched_already_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = make_plan(config("data=hub", f"data.root={tmp_path}"))
    monkeypatch.setattr(Hub, "available", lambda *_: True)
    monkeypatch.setattr(type(plan.task), "examples", lambda *_: ["a row", "another"])
    assert plan.sizes() == {"train": 2, "dev": 2, "test": 2}


def test_sizes_that_cannot_be_known_are_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Hub, "fetch", lambda *_: pytest.fail("fetched"))
    hub = ("data=hub", f"data.root={tmp_path}")
    with pytest.raises(DataError, match="mt_bench has no train split"):
        make_plan(
            composed("task=mt_bench", "backbone=tiny_llama", "task.max_new_tokens=4", *hub)
        ).sizes()
    unsized = make_plan(config(*hub, "~task.sizes.validation"))
    with pytest.raises(
        DataError,
        match=r"task\.sizes of sst2 .* its test split\. Add it, or fetch the data first \(iapt-data fetch\)",
    ):
        unsized.sizes()


@pytest.mark.parametrize("group", ["task", "method"])
def test_an_entry_without_a_name_is_told_that_it_needs_one(group: str):
    values = config("method=lora")
    values[group] = {k: v for k, v in values[group].items() if k != "name"}
    with pytest.raises(ConfigError, match=rf"{group}\.name: missing"):
        make_plan(values)


def test_a_source_takes_no_name_that_it_does_not_know():
    with pytest.raises(ConfigError, match=r"data\.name: unknown"):
        make_plan(config("+data.name=mine"))
