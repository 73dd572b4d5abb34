"""Frozen weights in 8 or 4 bits, by the quantisers that transformers supports.

    int8   torchao: integers, one scale per output of a map
    nf4    bitsandbytes: 4-bit NormalFloat, one float32 scale per 64 weights (QLoRA, Dettmers et al. 2023)

Only the linear maps inside the blocks are quantised.  Embeddings, norms, biases and the head keep the
backbone's dtype, in which every product is computed, so adapters, loss and optimizer are not affected.
On a CPU with AVX-512, bitsandbytes 0.50 applies wrong scales to rows whose width is not a multiple of 64:
those weights are not what NF4 would give.  The paper's backbones and SmolLM2 have multiples of 64; the
tiny backbones do not.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from iapt.backbone.dims import Dims
from iapt.errors import ConfigError

Quantization = Literal["int8", "nf4"]

LIBRARY: dict[Quantization, str] = {"int8": "torchao", "nf4": "bitsandbytes"}
BYTES: dict[Quantization, float] = {"int8": 1.0, "nf4": 0.5 + 4 / 64}  # per weight


def fault(quantization: Quantization, dims: Dims) -> str:
    """Say why no machine can quantise a backbone of these sizes this way; empty if one can."""
    if quantization == "int8" and dims.family == "gpt2":
        return "torchao quantises nn.Linear only, and GPT-2's maps are Conv1D; use nf4."
    return ""


def check_library(quantization: Quantization | None) -> None:
    """Check that the libraries of a quantisation are installed.

    Raises:
        ConfigError: one is missing or too old; the message says what to install.
    """
    from transformers.utils import import_utils

    if quantization is None:
        return
    library = LIBRARY[quantization]
    needed = {
        library: getattr(import_utils, f"is_{library}_available")(),
        "accelerate": import_utils.is_accelerate_available(),
    }
    lacking = " and ".join(name for name, there in needed.items() if not there)
    if lacking:
        raise ConfigError(
            f"backbone.quantization={quantization}: needs {lacking}, which is not installed or too old; "
            "pip install 'iapt[quantization]'."
        )


def loading_options(
    quantization: Quantization | None, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Return the arguments with which `from_pretrained` quantises a checkpoint while reading it.

    Args:
        quantization: how; None gives no arguments.
        dtype: the dtype of the products.
        device: the device of the weights.

    Raises:
        ConfigError: the library is missing.
    """
    if quantization is None:
        return {}
    check_library(quantization)
    import transformers

    config: Any
    if quantization == "int8":
        with without_log():
            from torchao.quantization import Int8WeightOnlyConfig
        config = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    else:
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    return {"quantization_config": config, "device_map": {"": device}}


def settled(model: Any) -> Any:
    """Make a quantised model safe to train over, and return it.

    On CPUs with AVX512-BF16, a pass without gradients would repack a 4-bit weight for good, into a form that
    passes no gradient: the first evaluation would block the gradients of all later training steps.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def reloaded(model: Any, options: dict[str, Any]) -> Any:
    """Quantise a model by saving and reloading it: the libraries quantise only what they read."""
    import transformers

    if not options:
        return model
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="iapt-") as folder:
        model.save_pretrained(folder)
        return type(model).from_pretrained(folder, dtype=model.dtype, **options)


def bytes_of_weights(dims: Dims, dtype: torch.dtype, quantization: Quantization | None) -> float:
    """Return the bytes that the weights take, without norms and biases."""
    table = dims.vocab_size * dims.hidden_size
    each = BYTES[quantization] if quantization else dtype.itemsize
    return (dims.num_weights - table) * each + table * dtype.itemsize


def is_quantized(model: nn.Module) -> bool:
    """Return whether one of these libraries has quantised a model's maps."""
    return bool(getattr(model, "is_quantized", False))


@contextmanager
def without_log() -> Iterator[None]:
    """Silence what the libraries log on import: which kernels for other devices they did not load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
