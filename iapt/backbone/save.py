"""Saving a backbone as a Hugging Face folder that plain `from_pretrained` loads."""

import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from iapt.errors import BackboneError, StorageError
from iapt.files import storing
from iapt.tensors import faults_as_os_errors

BIAS_SWITCHES = ("attention_bias", "mlp_bias")  # LLaMA's settings that give its maps biases


def save_checkpoint(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer; the whole folder or nothing.

    Args:
        model: a causal LM, which may have gained biases that its configuration does not provide for.
        tokenizer: the model's tokenizer.
        folder: a folder that does not exist or is empty.

    Raises:
        BackboneError: this kind of model has no place for a bias that was added.
        StorageError: the folder is not empty, or cannot be written.
    """
    check_new(folder)
    from transformers.utils.logging import disable_progress_bar

    config, tensors = _with_biases(model)
    with storing(folder), faults_as_os_errors():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            disable_progress_bar()  # it would fill log files with carriage returns
            model.save_pretrained(temporary, state_dict=tensors)
            config.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            temporary.chmod(0o755)  # mkdtemp lets nobody else in
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_new(folder: Path) -> None:
    """Refuse a folder that can be neither created nor replaced.

    Raises:
        StorageError: it is a file, a folder that is not empty, a link or the working folder.
    """
    # A link and the working folder cannot be replaced; `exists` is false for a broken link.
    fixed = folder.is_symlink() or (folder.exists() and folder.samefile("."))
    if fixed or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise StorageError(f"{folder} already exists; give a folder that does not exist yet.")


def _with_biases(model: Any) -> tuple[Any, dict[str, Any]]:
    """Return a configuration with a place for every tensor, and all the tensors that it requires."""
    config, tensors = copy.deepcopy(model.config), dict(model.state_dict())
    expected = _expected(model, config)
    if tensors.keys() - expected.keys():
        for switch in BIAS_SWITCHES:
            if hasattr(config, switch):
                setattr(config, switch, True)
        expected = _expected(model, config)
        for name in expected.keys() - tensors.keys():  # a switch gives biases to other maps too
            tensors[name] = torch.zeros(expected[name].shape, dtype=model.dtype)
    extra = sorted(tensors.keys() - expected.keys())
    if extra:
        raise BackboneError(
            f"a {config.model_type} checkpoint has no place for {extra[0]} and {len(extra) - 1} more tensors that "
            "merging made; keep the adapter beside the backbone instead."
        )
    return config, tensors


def _expected(model: Any, config: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        tensors: dict[str, torch.Tensor] = type(model)(config).state_dict()
    return tensors
