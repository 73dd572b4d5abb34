"""`iapt-bench`: what it refuses at once, and what it measures and writes."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from iapt import workbench
from iapt.cli import bench
from iapt.cli.bench import main
from iapt.cli.overrides import groups
from iapt.errors import ConfigError
from iapt.inference.learners import PEER_GROUPED, PEER_RANDOM

TINY = ("backbone=tiny_llama", "task=sst2", "device=cpu", "repeats=1", "steps=1", "batch=2")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("beams=x", "beams=x: must be one of 1, 2"),
        ("what=dec", "Did you mean 'decode'"),
        ("methods=lorra", "Did you mean 'lora'"),
        ("task=bolq", "Did you mean 'boolq'"),
        ("steps=0", "steps=0: must be a whole number >= 1"),
        ("warmup=-1", "warmup=-1: must be a whole number >= 0"),
        ("method=lora", "Did you mean 'methods'"),
        ("data=", "data=: no value"),
        ("tenants=1,x", "tenants=1,x: must be whole numbers from 1 to 1,024, separated by commas"),
        ("pools=0", "pools=0: must be whole numbers >= 1, separated by commas"),
        ("popularity=zip", "Did you mean 'zipf'"),
    ],
)
def test_a_wrong_word_is_named_before_anything_is_loaded(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main([word]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["what=decode", "instruction_tokens=999999999"],
            "together they have 1,000,000,031 tokens",
        ),
        (["what=decode", "new_tokens=3000"], "but the backbone has"),
        (
            ["what=train"],
            "batch=2 steps=999999999: 1,999,999,998 examples are needed",
        ),
        (
            ["what=train", "weights=random"],
            "batch=2 steps=999999999: 1,999,999,998 random rows, but 10,000 are the most",
        ),
        (
            ["what=train", "weights=random", "instruction_tokens=999999999"],
            "together they have 1,000,000,031 tokens",
        ),
        (
            ["what=tenants", "tenants=16,32", "pools=1,2", "popularity=distinct"],
            "tenants=16 pools=2 popularity=distinct: no pool has a tenant for each row",
        ),
    ],
)
def test_what_no_backbone_or_data_can_have_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny = [word.replace("steps=1", "steps=999999999") for word in TINY]
    assert main([*tiny, f"out={tmp_path}", *words]) == 2
    assert said in capsys.readouterr().err


def test_texts_are_no_limit_for_training_nor_others_defaults_for_tenants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    checked: list[int] = []
    monkeypatch.setattr(
        bench, "_check_lengths", lambda own, _: checked.append(own["instruction_tokens"])
    )
    monkeypatch.setattr(workbench.Bench, "load", Mock(side_effect=ConfigError("far enough")))
    for words, lengths in {
        ("what=train",): [],
        ("what=tenants,decode",): [64, 274],
        ("what=tenants", "instruction_tokens=9"): [9],
    }.items():
        checked.clear()
        assert main([*TINY, *words, f"out={tmp_path}"]) == 2
        assert checked == lengths


def planned(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """The methods that a benchmark would measure."""
    load = Mock(side_effect=ConfigError("far enough"))
    monkeypatch.setattr(workbench.Bench, "load", load)
    assert main([*TINY, *words]) == 2
    load.assert_called_once()
    return list(load.call_args.args[1])


def test_without_methods_each_part_has_those_that_the_papers_table_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for what, methods in {
        "table4": ["lora", "iapt", "p_tuning_v2", "p_tuning"],
        "decode": ["lora", "iapt"],
    }.items():
        assert planned(monkeypatch, f"what={what}", f"out={tmp_path}") == methods


def test_all_methods_are_every_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(bench, "from_words", list)
    monkeypatch.setattr("iapt.planning.make_plan", lambda words: SimpleNamespace(positions=1024))
    words = ("what=train", "methods=all", f"out={tmp_path}")
    assert planned(monkeypatch, *words) == groups()["method"]


def test_texts_leave_room_for_the_soft_tokens_of_every_method(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ("what=decode", f"out={tmp_path}", "instruction_tokens=1000")
    assert planned(monkeypatch, *words, "new_tokens=20", "methods=lora,iapt") == ["lora", "iapt"]
    assert planned(monkeypatch, *words, "new_tokens=24", "methods=lora") == ["lora"]
    capsys.readouterr()
    assert main([*TINY, *words, "new_tokens=24", "methods=lora,iapt"]) == 2
    assert "but the backbone has 1,020 positions besides soft tokens" in capsys.readouterr().err


def test_help_names_every_key_with_its_default(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    words = (
        "what=decode,train",
        "methods=NAMES",
        "beams=1,3",
        "instruction_tokens=274",
        "warmup=1 ",
    )
    for word in words:
        assert word in page


def test_training_is_timed_beside_trainer_in_every_dtype(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["what=train", "methods=iapt,lora", "dtypes=bfloat16", f"out={tmp_path}"]
    assert main([*TINY, *words]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())["train"]
    ours = ["iapt", "iapt, Θ step", "lora"]
    rows = {(row["what"], row["dtype"]): row for row in report["rows"]}
    assert list(rows) == [
        *((name, "float32") for name in (*ours, PEER_RANDOM, PEER_GROUPED)),
        *((name, "bfloat16") for name in (*ours, PEER_GROUPED)),
    ]
    assert rows[PEER_RANDOM, "float32"]["speed_to_usual"] == 1
    assert rows[PEER_GROUPED, "bfloat16"]["speed_to_grouped"] == 1
    assert all(row["peak_mib"] > 0 for row in rows.values())
    assert rows["iapt", "float32"]["share_of_peak"] > 0
    mine, theirs = report["losses"]["lora"]
    assert abs(mine - theirs) < 1e-5
    assert report["settings"]["batch"] == 2
    assert "of peak" in capsys.readouterr().out
    assert (tmp_path / "tiny_llama-train.md").is_file()


def test_decoding_is_timed_bare_with_each_method_and_by_the_peers(tmp_path: Path):
    words = ["what=decode", "methods=iapt", "beams=2", "instruction_tokens=12", "new_tokens=3"]
    (tmp_path / "tiny_llama.json").write_text('{"train": {"rows": []}}')
    assert main([*TINY, *words, f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())
    assert [row["what"] for row in report["decode"]["rows"]] == [
        "bare",
        "iapt",
        "transformers generate",
        "transformers generate, peft LoRA",
    ]
    assert report["decode"]["rows"][0]["ratio_to_bare"] == 1
    assert report["decode"]["rows"][0]["num_beams"] == 2
    assert report["train"] == {"rows": []}, "the other half of an earlier measurement stays"


def test_random_weights_are_not_measured_in_place_of_quantised_ones():
    plan = SimpleNamespace(backbone=SimpleNamespace(quantization="int8"))
    with pytest.raises(ConfigError, match="quantization=int8: random weights"):
        workbench.Bench.load({"weights": "random"}, {"lora": plan})


def test_random_weights_need_neither_a_tokenizer_nor_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workbench, "load_tokenizer", None)
    monkeypatch.setattr(workbench, "load_backbone", None)
    monkeypatch.setattr(workbench, "encode_to_learn", None)
    words = ["what=train,tenants", "weights=random", "methods=lora", "dtypes=bfloat16"]
    sizes = ["instruction_tokens=12", "new_tokens=3", "tenants=1,2", "pools=2"]
    assert main([*TINY, *words, *sizes, f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())
    rows = {(row["what"], row["dtype"]) for row in report["train"]["rows"]}
    assert {("lora", "bfloat16"), ("lora", "float32"), (PEER_GROUPED, "float32")} <= rows
    assert report["train"]["examples"] == 2
    assert report["train"]["tokens"] == (12 + 2) + (9 + 2), "rows differ in length"
    for name in ("train", "tenants"):
        assert "random weights" in (tmp_path / f"tiny_llama-{name}.md").read_text()


def test_table_4_has_merged_methods_prefill_and_steps_apart_and_the_limit(tmp_path: Path):
    words = ["what=table4", "weights=random", "beams=1", "instruction_tokens=12", "new_tokens=3"]
    words += ["recorded=true", "methods=lora,iapt", f"out={tmp_path}"]
    assert main([*TINY, *words]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())["table4"]
    assert [row["what"] for row in report["rows"]] == [
        "bare",
        "lora, merged",
        "lora",
        "iapt",
        "transformers generate",
        "transformers generate, peft LoRA",
    ]
    assert (report["weights"], report["instruction_tokens"]) == ("random", 12)
    assert report["limit_seconds"] > 0
    assert report["machine"]["cores"]
    for row in report["rows"]:
        whole, first = row["seconds"][0], row["prefill_seconds"][0]
        assert row["step_seconds"] == [pytest.approx((whole - first) / 2)]
    table = (tmp_path / "tiny_llama-table4.md").read_text()
    assert "of limit" in table
    assert "random weights, recorded steps" in table
    assert "<svg" in (tmp_path / "tiny_llama-beams.svg").read_text()


def test_tenants_are_timed_by_popularity_beside_bare_and_peft(tmp_path: Path):
    words = ["what=tenants", "tenants=1,2", "pools=1,3", "popularity=identical,distinct"]
    lengths = ["instruction_tokens=8", "new_tokens=2", "warmup=0"]
    assert main([*TINY, *words, *lengths, "methods=lora,iapt", f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())["tenants"]
    assert report["instruction_tokens"] == 8
    batches = [(r["pool"], r["rows"], r["distinct"]) for r in report["rows"] if r["what"] == "bare"]
    assert batches == [(1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 2, 1), (3, 2, 2)], "each batch once"
    assert [row["what"] for row in report["rows"][:5]] == [
        "bare",
        "lora",
        "iapt",
        "transformers generate",
        "peft LoRA, adapter_names",
    ]
    assert report["rows"][1]["bytes_per_tenant"] > 0
    assert (tmp_path / "tiny_llama-tenants.svg").is_file()


@pytest.mark.parametrize(("content", "said"), [("[1]", "it holds no mapping"), ("{", "not JSON")])
def test_a_file_of_something_else_is_refused_before_anything_is_measured(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "tiny_llama.json").write_text(content)
    assert main([*TINY, "what=tenants", f"out={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert not captured.out
    assert (tmp_path / "tiny_llama.json").read_text() == content


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    assert main([*TINY, f"out={tmp_path / 'file' / 'bench'}"]) == 1
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err
    assert not captured.out
