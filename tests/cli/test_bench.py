"""`iapt-bench`: what it refuses at once, and what it measures and writes."""

import json
from pathlib import Path

import pytest

from iapt.cli.bench import main

TINY = ("backbone=tiny_llama", "task=sst2", "device=cpu", "repeats=1", "steps=1", "batch=2")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("beams=x", "beams=x: must be one of 1, 2"),
        ("what=dec", "Did you mean 'decode'"),
        ("methods=lorra", "Did you mean 'lora'"),
        ("task=bolq", "Did you mean 'boolq'"),
        ("steps=0", "steps=0: must be a whole number from 1"),
        ("warmup=-1", "warmup=-1: must be a whole number from 0"),
        ("method=lora", "Did you mean 'methods'"),
        ("data=", "data=: no value"),
    ],
)
def test_a_wrong_word_is_named_before_anything_is_loaded(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main([word]) == 2
    assert said in capsys.readouterr().err


def test_help_names_every_key_with_its_default(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    for word in ("what=decode,train", "methods=lora,iapt", "beams=1,3", "instruction_tokens=274"):
        assert word in page


def test_training_is_timed_beside_trainer_and_a_bilevel_method_comes_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "what=train", "methods=iapt,ssp", f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "tiny_llama.json").read_text())
    rows = {row["what"]: row for row in report["train"]["rows"]}
    peer = "transformers Trainer, peft LoRA"
    assert list(rows) == ["iapt", "iapt, and a Θ step each", "ssp", peer]
    assert rows[peer]["speed_to_trainer_peft"] == 1
    assert all(row["seconds_per_step"] > 0 for row in rows.values())
    assert report["train"]["settings"]["batch"] == 2
    assert "x the speed of Trainer + peft" in capsys.readouterr().out


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
