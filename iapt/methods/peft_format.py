"""Adapters in the peft library's folder format: adapter_config.json and adapter_model.safetensors.

A method that peft also has is `PeftCompatible`: it states its `peft_type` and translates both ways.  The
others have no counterpart and are refused.  peft itself is not needed.

The name of a tensor is "base_model.model." and its module's path in the Hugging Face model.  A path is
found by looking up the module on which the backbone acts, so no family is named here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import named, short
from iapt.errors import AdapterError, DataError
from iapt.files import read_json, write_json
from iapt.methods.base import Method
from iapt.methods.saved import CONFIG, FORMAT, read_finite, some
from iapt.tensors import dtype_name, write_tensors

TENSORS = "adapter_model.safetensors"
WRAPPED = "base_model.model."
TASK = "CAUSAL_LM"

# Options of peft that do not change a trained adapter's logits on its backbone.
INERT = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
        *("exclude_modules", "layers_pattern", "layers_to_transform", "target_modules", "fan_in_fan_out"),
        *("eva_config", "init_weights", "lora_dropout", "megatron_core", "qalora_group_size", "task_type"),
    }
)  # fmt: skip

Config = dict[str, Any]
Tensors = dict[str, Tensor]
Place = tuple[int, str]  # block, site


class PeftCompatible(Method):
    """A method that the peft library also has.

    Attributes:
        peft_types: peft's names for it; we write the first and read all.
    """

    peft_types: ClassVar[tuple[str, ...]]

    @classmethod
    def check_peft(cls, dims: Dims) -> None:
        """Refuse a backbone on which peft's method of this name computes something else.

        Raises:
            AdapterError: with the reason.
        """

    def to_peft(self, backbone: Backbone) -> tuple[Config, Tensors]:
        """Return peft's configuration and tensors for this method."""
        raise NotImplementedError(f"{type(self).__name__} must define to_peft.")

    @classmethod
    def from_peft(
        cls, config: Config, tensors: Tensors, backbone: Backbone
    ) -> tuple[Config, Tensors]:
        """Return the values that build this method, and its tensors, from peft's adapter.

        Raises:
            AdapterError: naming an option, module or shape that this method cannot represent.
        """
        raise NotImplementedError(f"{cls.__name__} must define from_peft.")


def save_peft(folder: Path, method: Method, backbone: Backbone, checkpoint: str | None) -> None:
    """Write a folder that ``peft.PeftModel.from_pretrained(model, folder)`` loads.

    Args:
        folder: created if missing; each of its two files is written atomically.
        method: the trained method.
        backbone: its backbone.
        checkpoint: the base model for peft's configuration.

    Raises:
        AdapterError: peft does not have this method.
    """
    able = exportable(method, backbone.dims)
    config, tensors = able.to_peft(backbone)
    config |= {"task_type": TASK, "inference_mode": True, "base_model_name_or_path": checkpoint}
    write_tensors(folder / TENSORS, tensors, FORMAT)
    write_json(folder / CONFIG, config | {"peft_type": able.peft_types[0]})


def exportable(method: Method, dims: Dims) -> PeftCompatible:
    """Return the method as one that peft has too; needs no backbone.

    Raises:
        AdapterError: peft does not have it, or computes something else on a backbone of this shape.
    """
    if not isinstance(method, PeftCompatible):
        raise AdapterError(
            f"{type(method).__name__} has no counterpart in peft; use our saved adapter."
        )
    method.check_peft(dims)
    return method


def read_peft(folder: Path) -> tuple[Config, Tensors]:
    """Read a folder that peft wrote.

    Raises:
        AdapterError: the folder is not peft's, is damaged, or has pickled tensors.
    """
    try:
        config = read_json(folder / CONFIG)
    except DataError as error:
        raise AdapterError(f"{folder} is not a peft adapter: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise AdapterError(f"{folder / CONFIG}: peft_type: missing; it is not a peft adapter.")
    if not (folder / TENSORS).is_file() and (folder / "adapter_model.bin").exists():
        raise AdapterError(
            f"{folder} has only adapter_model.bin, a pickle, which runs code when it is read. Save it again with "
            "peft: model.save_pretrained(folder), which writes adapter_model.safetensors."
        )
    return config, read_finite(folder / TENSORS)


def refuse_options(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse every option that is set and that the method does not know.

    Args:
        config: peft's configuration.
        known: options that the method handles.

    Raises:
        AdapterError: naming options such as use_dora or modules_to_save.
    """
    passed = INERT | set(known)
    if config.get("bias") == "none":
        passed |= {"bias"}
    wrong = {key: value for key, value in config.items() if key not in passed and value}
    if config.get("task_type") not in (None, TASK):
        wrong["task_type"] = config["task_type"]
    if wrong:
        listed = some([f"{named(key)}={short(value)}" for key, value in wrong.items()])
        raise AdapterError(f"{config['peft_type']}: our method cannot represent {listed}.")


def number(config: Mapping[str, Any], key: str, least: float, most: float = 1e9) -> float:
    """Read a number from peft's configuration.

    Raises:
        AdapterError: it is missing, not a number, below `least` or above `most`.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise AdapterError(
            f"{config['peft_type']}: {key}={short(value)}: must be a number from {least:g} to {most:g}."
        )
    return value


def expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the tensor in fp32.

    Raises:
        AdapterError: it has another shape, or is not floating point.
    """
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        raise AdapterError(
            f"tensor {name} is {dtype_name(tensor.dtype)} {tuple(tensor.shape)}; it must be "
            f"floating point {shape}."
        )
    return tensor.float()


def module_names(backbone: Backbone) -> dict[Place, str]:
    """Return peft's name for the module of each site: "base_model.model.model.layers.0.self_attn.q_proj"."""
    names = {id(module): WRAPPED + name for name, module in backbone.model.named_modules()}
    return {
        (layer, site): names[id(backbone.family.site(layer, site).module)]
        for layer in range(backbone.dims.num_layers)
        for site in backbone.dims.linears
    }


def by_place(tensors: Tensors, endings: Iterable[str], backbone: Backbone) -> dict[Place, Tensors]:
    """Group peft's tensors by site.

    Args:
        tensors: by name, such as "<module>.lora_A.weight".
        endings: the suffixes "lora_A.weight" and "lora_B.weight", all of which a site needs if it has one.
        backbone: the backbone with these modules.

    Returns:
        For each site, its tensors by suffix.

    Raises:
        AdapterError: a tensor belongs to no site of a block, or its partner is missing.
    """
    wanted = set(endings)
    places = {name: place for place, name in module_names(backbone).items()}
    found: dict[Place, Tensors] = {}
    for name, tensor in tensors.items():
        ending = next((e for e in wanted if name.endswith(f".{e}")), None)
        place = None if ending is None else places.get(name.removesuffix(f".{ending}"))
        if ending is None or place is None:
            raise AdapterError(
                f"tensor {named(name.removeprefix(WRAPPED))} belongs to none of the linear maps on which our methods "
                f"act: {', '.join(backbone.dims.linears)} of each block."
            )
        if tensor.dim() != 2:
            raise AdapterError(
                f"tensor {name} has shape {tuple(tensor.shape)}; it must be a matrix."
            )
        found.setdefault(place, {})[ending] = tensor
    for (layer, site), parts in found.items():
        if parts.keys() != wanted:
            missing = ", ".join(sorted(wanted - parts.keys()))
            raise AdapterError(f"block {layer}, {site!r}: {missing} is missing from the file.")
    if not found:
        raise AdapterError("the file has no tensors.")
    return found


def targets(tensor_names: Iterable[str], depth: int) -> list[str]:
    """Return the modules of these tensors, as parent and own name ("self_attn.q_proj").

    Args:
        tensor_names: tensors of a peft adapter.
        depth: the number of parts in a name that belong to the tensor, not the module.
    """
    return sorted({".".join(name.split(".")[-depth - 2 : -depth]) for name in tensor_names})


def stored_transposed(backbone: Backbone, site: str) -> bool:
    """Say whether the model stores a site's weight as (in, out), peft's fan_in_fan_out."""
    return not isinstance(backbone.family.site(0, site).module, nn.Linear)
