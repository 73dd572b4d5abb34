"""A merged backbone as a Hugging Face folder: plain `from_pretrained` gives the same logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import enable_progress_bar

from iapt.backbone.dims import FAMILIES
from iapt.backbone.save import BIAS_SWITCHES, check_new, save_checkpoint
from iapt.backbone.tiny import tiny_tokenizer
from iapt.errors import BackboneError, StorageError
from tests.methods import by_hand
from tests.tiny import new_backbone


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids, mask = by_hand.tokens()
    with torch.no_grad():
        return model(ids, attention_mask=mask.long()).logits[mask]


def biases(config: Any) -> list[bool | None]:
    return [getattr(config, switch, None) for switch in BIAS_SWITCHES]


@pytest.mark.parametrize("family", FAMILIES)
def test_changed_weights_and_added_biases_come_back(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    backbone = new_backbone(family)
    before, switches = logits(backbone.model), biases(backbone.model.config)
    torch.manual_seed(0)
    for site in ("o", "up"):  # LLaMA's maps have no bias, the others' have one
        module = backbone.family.site(1, site).module
        module.bias = torch.nn.Parameter(torch.randn(backbone.dims.in_out(site)[1]))
    changed = logits(backbone.model)
    assert (changed - before).abs().max() > 0.1
    folder = tmp_path / "new" / "merged"
    enable_progress_bar()
    save_checkpoint(backbone.model, tiny_tokenizer(), folder)
    assert capsys.readouterr() == ("", ""), "a progress bar of the library's"
    assert [p.name for p in folder.parent.iterdir()] == ["merged"], "nothing else stays beside it"
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(logits(loaded), changed, atol=1e-6, rtol=0)
    assert (
        AutoTokenizer.from_pretrained(folder)("abc").input_ids == tiny_tokenizer()("abc").input_ids
    )
    assert folder.stat().st_mode & 0o777 == 0o755
    assert torch.equal(logits(backbone.model), changed), "saving changes nothing"
    assert biases(backbone.model.config) == switches


def test_all_tensors_of_a_checkpoint_have_the_models_dtype(tmp_path: Path):
    backbone = new_backbone("llama", dtype=torch.bfloat16)
    module = backbone.family.site(1, "o").module
    module.bias = torch.nn.Parameter(torch.ones(32, dtype=torch.bfloat16))
    save_checkpoint(backbone.model, tiny_tokenizer(), tmp_path / "merged")
    tensors = load_file(tmp_path / "merged" / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}


def test_half_a_checkpoint_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tokenizer = tiny_tokenizer()
    monkeypatch.setattr(tokenizer, "save_pretrained", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(new_backbone("llama").model, tokenizer, tmp_path / "merged")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", ["model", "tokenizer"])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = {"model": new_backbone("llama").model, "tokenizer": tiny_tokenizer()}
    fault = {
        "model": SafetensorError("Error while serializing: No space left"),
        "tokenizer": Exception("No space left on device (os error 28)"),
    }[writer]

    def full(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(made[writer], "save_pretrained", full)
    with pytest.raises(StorageError, match=r"merged: cannot be written .*No space left") as caught:
        save_checkpoint(made["model"], made["tokenizer"], tmp_path / "merged")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_link_and_the_working_folder_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for folder in (tmp_path / "link", tmp_path / "work", Path()):
        with pytest.raises(StorageError, match="already exists"):
            check_new(folder)


def test_a_model_without_a_place_for_a_bias_is_refused_by_name(tmp_path: Path):
    backbone = new_backbone("gpt2")
    backbone.model.lm_head.bias = torch.nn.Parameter(torch.zeros(backbone.dims.vocab_size))
    with pytest.raises(BackboneError, match=r"gpt2 checkpoint has no place for lm_head\.bias"):
        save_checkpoint(backbone.model, tiny_tokenizer(), tmp_path / "merged")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(StorageError, match="already exists"):
        save_checkpoint(new_backbone("llama").model, tiny_tokenizer(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
