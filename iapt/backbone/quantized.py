"""Frozen weights in 8 or 4 bits, by the quantisers that transformers drives.

    int8   torchao: whole numbers, one scale per output of a map
    nf4    bitsandbytes: NormalFloat of 4 bits, one float32 scale per 64 weights (QLoRA, Dettmers et al. 2023)

Only the linear maps inside the blocks are stored so.  Embeddings, norms, biases and the head keep the
backbone's dtype, in which every product is computed; adapters, loss and optimizer never notice.
On a CPU with AVX-512, bitsandbytes 0.50 reads rows whose width is no multiple of 64 with the wrong scales (those of the
paper's backbones and of SmolLM2 are multiples; the tiny ones are not): the weights are then others than NF4 would be.
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
BYTES: dict[Quantization, float] = {"int8": 1.0, "nf4": 0.5 + 4 / 64}  # of a weight


def fault(quantization: Quantization, dims: Dims) -> str:
    """Say why a backbone of these sizes cannot be quantised so anywhere; empty if it can be."""
    if quantization == "int8" and dims.family == "gpt2":
        return "torchao quantises nn.Linear only, and GPT-2's maps are Conv1D; use nf4."
    return ""


def check_library(quantization: Quantization | None) -> None:
    """Refuse a quantisation whose library this environment lacks.

    Raises:
        ConfigError: naming what to install.
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
    """Return the arguments of `from_pretrained` that quantise a checkpoint as it is read; none without.

    Args:
        quantization: how.
        dtype: of the products.
        device: where the weights will lie.

    Raises:
        ConfigError: the library is missing.
    """
    if quantization is None:
        return {}
    check_library(quantization)
    import transformers

    config: Any
    if quantization == "int8":
        with _without_log():
            from torchao.quantization import Int8WeightOnlyConfig
        config = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    else:
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    return {"quantization_config": config, "device_map": {"": device}}


def settled(model: Any) -> Any:
    """Make a quantised model safe to train over, and return it.

    On CPUs with AVX512-BF16, a 4-bit map without gradient would repack its weight for good, into a form that
    passes no gradient: the first evaluation would cut every later training step off.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def reloaded(model: Any, options: dict[str, Any]) -> Any:
    """Quantise a model in memory, by way of a folder: the libraries do it while a checkpoint is read."""
    import transformers

    if not options:
        return model
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="iapt-") as folder:
        model.save_pretrained(folder)
        return type(model).from_pretrained(folder, dtype=model.dtype, **options)


def bytes_of_weights(dims: Dims, dtype: torch.dtype, quantization: Quantization | None) -> float:
    """Return the memory that the weights take, norms and biases apart."""
    table = dims.vocab_size * dims.hidden_size
    each = BYTES[quantization] if quantization else dtype.itemsize
    return (dims.num_weights - table) * each + table * dtype.itemsize


def is_quantized(model: nn.Module) -> bool:
    """Say whether a model's maps are stored by one of these libraries."""
    return bool(getattr(model, "is_quantized", False))


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep silent what torchao logs when it is imported: which other cards' kernels it did not load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
