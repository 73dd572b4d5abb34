"""A saved adapter: a folder with a method's tensors and everything needed to use them.

    adapter.safetensors     the method's tensors and nothing else
    adapter_config.json     the method with its values, the backbone it was trained on, how it decoded

Nothing is pickled, and nothing in the folder is trusted: every field is checked, and the tensors are
compared with the method's own before any is used.
"""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from iapt.configuration.checking import Count, faults, named, short
from iapt.errors import AdapterError, DataError
from iapt.files import read_json, write_json
from iapt.methods.base import Method
from iapt.methods.searched import adopt, serving_state
from iapt.tensors import digest_of, dtype_name, read_tensors, write_tensors

CONFIG, TENSORS = "adapter_config.json", "adapter.safetensors"
FORMAT = {"format": "pt"}  # the metadata by which other libraries know torch's tensors
# The dtypes that a saved tensor of floating-point numbers may have.
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHOWN = 8  # faults listed in one message


class Decoding(BaseModel):
    """How a run decoded; the default for `generate`.

    Attributes:
        num_beams: beam size; 1 is greedy search.
        max_new_tokens: longest answer.
        batch_tokens: most tokens in one batch, beams and answers included.
        max_length: longest instruction and answer together; longer instructions are cut.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    num_beams: Count = 1
    max_new_tokens: Count = 64
    batch_tokens: Count = 4096
    max_length: Count = 2048


class AdapterConfig(BaseModel):
    """adapter_config.json.

    Attributes:
        format: version of this layout.
        method: the entry of configs/method/ with the values of the training.
        backbone: the entry of configs/backbone/, with the dtype that was used.
        backbone_fingerprint: fingerprint of the frozen weights.
        revision: revision of the backbone's checkpoint, or the hash of its file.
        decoding: see `Decoding`.
        trained: the run's name, its task and the task's template; or the origin of an imported adapter.
        versions: versions of the libraries that wrote it.
        digest: SHA-256 of the tensors beside it; empty in an adapter that an older version wrote.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1] = 1
    method: dict[str, Any]
    backbone: dict[str, Any]
    backbone_fingerprint: str
    revision: str
    decoding: Decoding = Decoding()
    trained: dict[str, str] = {}
    versions: dict[str, str] = {}
    digest: str = ""


def save_adapter(folder: Path, method: Method, config: AdapterConfig) -> None:
    """Write the two files of an adapter, each atomically.

    Raises:
        StorageError: they cannot be written.
    """
    tensors = serving_state(method)
    write_tensors(folder / TENSORS, tensors, FORMAT)
    write_json(folder / CONFIG, config.model_dump() | {"digest": _digest(tensors)})


def read_config(folder: Path) -> AdapterConfig:
    """Read and check adapter_config.json.

    Raises:
        AdapterError: it is not our adapter, or has an older format; the message lists every wrong field.
    """
    try:
        values = read_json(folder / CONFIG)
    except DataError as error:
        raise AdapterError(f"{folder} is not a saved adapter: {error}") from error
    if isinstance(values, dict) and "peft_type" in values:
        raise AdapterError(
            f"{folder} is an adapter of the peft library ({short(values['peft_type'])}); convert it: "
            "iapt-adapter import FOLDER OUT backbone=NAME."
        )
    if isinstance(values, dict) and "format" not in values:
        raise AdapterError(
            f"{folder / CONFIG}: format: missing; an old version of iapt wrote it without a description. "
            "Train it again (iapt-train ... force=true)."
        )
    try:
        return AdapterConfig.model_validate(values)
    except ValidationError as error:
        found = faults(error, str(folder / CONFIG), AdapterConfig)
        raise AdapterError("\n".join(found[:SHOWN])) from error


def with_infinities(method: Method) -> set[str]:
    """Return the names of the buffers that a freshly built method fills with infinities, such as masks."""
    return {name for name, buffer in method.named_buffers() if bool(torch.isinf(buffer).any())}


def read_finite(file: Path, infinite: Container[str] = ()) -> dict[str, Tensor]:
    """Read an untrusted safetensors file.

    Args:
        file: the file.
        infinite: names of tensors that may contain infinities: `with_infinities`.

    Raises:
        AdapterError: it is missing or damaged, or contains a value that is not finite or of an unknown dtype.
    """
    try:
        tensors, _ = read_tensors(file)
    except DataError as error:
        raise AdapterError(str(error)) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype not in FLOATS:
            allowed = ", ".join(map(dtype_name, FLOATS))
            raise AdapterError(
                f"{file}: tensor {named(name)} is {dtype_name(tensor.dtype)}; allowed are {allowed}."
            )
    check_finite(tensors, file, infinite)
    return tensors


def _expected(values: Tensor, infinities: bool) -> Tensor:
    """Return which values are finite, or at least no NaN where infinities are allowed."""
    return ~values.isnan() if infinities else values.isfinite()


def check_finite(tensors: Mapping[str, Tensor], where: Path, infinite: Container[str] = ()) -> None:
    """Refuse values that are not finite in float32, in which methods compute.

    Args:
        tensors: the tensors.
        where: their file or folder.
        infinite: names of tensors that may contain infinities.

    Raises:
        AdapterError: naming their file or folder, and the first tensors.
    """
    broken = [
        named(name)
        for name, t in tensors.items()
        if t.is_floating_point() and not bool(_expected(t.float(), name in infinite).all())
    ]
    if broken:
        raise AdapterError(
            f"{where} contains values that are not finite in float32: {some(broken)}."
        )


def fit(method: Method, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load saved tensors into a method built with the same values.

    Args:
        method: freshly built; unusable after a failure.
        tensors: from `read_finite`.
        where: their folder, for messages.

    Raises:
        AdapterError: a tensor is missing, unexpected, or of another shape or kind; the message has the first ones.
    """
    own = method.state_dict() | serving_state(method)
    wrong = [
        f"tensor {named(name)} is {_kind(saved)}, here it is {_kind(own[name])}"
        for name, saved in tensors.items()
        if name in own and _kind(saved) != _kind(own[name])
    ]
    if not wrong:
        try:
            adopt(method, tensors)
        # For a structure that training cannot produce, torch may raise any of these.
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            wrong = [f"its structure is not one of {type(method).__name__} ({reason})"]
    if not wrong:
        own = method.state_dict()
        wrong = [f"tensor {name} is missing from the file" for name in own if name not in tensors]
        wrong += [
            f"tensor {named(name)} is not part of this method"
            for name in tensors
            if name not in own
        ]
        wrong += [
            f"tensor {name} has shape {tuple(tensors[name].shape)}, here it is {tuple(own[name].shape)}"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ]
    if wrong:
        raise AdapterError(f"the adapter in {where} does not fit: {some(wrong, '; ')}.")
    method.load_state_dict(tensors)


def check_digest(config: AdapterConfig, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Compare tensors with those that were saved with the configuration.

    Raises:
        AdapterError: they differ.
    """
    if config.digest and config.digest != _digest(tensors):
        raise AdapterError(
            f"{folder / TENSORS} has changed since {CONFIG} was written. Train the run again (force=true), or "
            f'set digest to "" in {CONFIG} if you made the change.'
        )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest_of({name: tensors[name] for name in sorted(tensors)})


def _kind(t: Tensor) -> str:
    """Describe what must agree before a structure is adopted: the number of axes and the kind of number."""
    return f"{t.dim()}-dimensional {'floating point' if t.is_floating_point() else dtype_name(t.dtype)}"


def some(items: Sequence[str], between: str = ", ") -> str:
    """Return the first three of some faults and the number of the others, on one line."""
    return between.join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
