"""Reading and writing safetensors files; a sealed one is read only exactly as it was written.

A seal is a digest over all names, shapes, dtypes and values and over the state beside them, so anything
dropped, added or changed since is noticed in one place, and readers need no checks of their own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from iapt.errors import DataError
from iapt.files import replacing


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, from any device, to one file, atomically; one with several names is written under each.

    Raises:
        StorageError: the file cannot be written.
    """
    plain = _apart({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    with replacing(path) as temporary, faults_as_os_errors():
        save_file(plain, temporary, dict(metadata))


@contextmanager
def faults_as_os_errors() -> Iterator[None]:
    """Make what libraries in Rust raise for a full disk an OSError: safetensors its own error, tokenizers Exception."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, SafetensorError) and "(os error " not in str(error):
            raise
        raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file's tensors, to the CPU, and its metadata.

    Raises:
        DataError: it is missing or damaged; the message names it.
    """
    if not path.is_file():  # opening a FIFO would wait for a writer
        what = "it is not a regular file" if path.exists() else "there is no such file"
        raise DataError(f"{path} cannot be read ({what}).")
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    # For a header that describes impossible tensors, torch may raise any of these.
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read ({_first_line(error)}).") from error


def write_sealed(path: Path, tensors: Mapping[str, Tensor], state: Any) -> None:
    """Write tensors and a state of JSON values, sealed, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    text = json.dumps(state)
    # One key, because safetensors writes several in any order, and equal contents should be equal files.
    write_tensors(path, tensors, {"sealed": f"{_seal(tensors, text)} {text}"})


def read_sealed(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what `write_sealed` wrote.

    Raises:
        DataError: it is missing, damaged, changed or not sealed; the message names it.
    """
    tensors, metadata = read_tensors(path)
    seal, _, text = metadata.get("sealed", "").partition(" ")
    if seal != _seal(tensors, text):
        raise DataError(f"{path} cannot be read (it is not as this version of iapt wrote it).")
    return tensors, json.loads(text)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256, as hex digits, over names, shapes, dtypes and all values, in their order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype: "float32"."""
    return str(dtype).removeprefix("torch.")


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor memory of its own, as the format demands."""
    taken: set[int] = set()
    for name, t in tensors.items():
        memory = t.untyped_storage().data_ptr()
        if memory in taken:
            tensors[name] = t.clone()
        taken.add(memory)
    return tensors


def _seal(tensors: Mapping[str, Tensor], text: str) -> str:
    ordered = {name: tensors[name] for name in sorted(tensors)}
    return hashlib.sha256(f"{digest_of(ordered)} {text}".encode("utf-8", "replace")).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
