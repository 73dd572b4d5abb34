"""Adapters in the peft library's folder format: adapter_config.json and adapter_model.safetensors.

A method that peft also has is `PeftCompatible`: it says which `peft_type` it is there and translates both
ways.  The others have no counterpart and are refused by name.  peft itself is not needed.

Names of tensors are "base_model.model." and the module's path in the Hugging Face model.  Paths are
found by asking which module of the model is the one the backbone acts on, so no family is named.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import AdapterError, DataError
from iapt.files import read_json, write_json
from iapt.methods.base import Method
from iapt.methods.saved import CONFIG, read_tensors, write_tensors

TENSORS = "adapter_model.safetensors"
WRAPPED = "base_model.model."
TASK = "CAUSAL_LM"

# What peft writes that changes no logit of a trained adapter on its backbone.
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
    """A method that the peft library has as well.

    Attributes:
        peft_types: what peft calls it; the first is written, all are read.
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
        """Return the numbers that build this method, and its tensors, for an adapter of peft's.

        Raises:
            AdapterError: an option, a module or a shape that this method cannot represent; it is named.
        """
        raise NotImplementedError(f"{cls.__name__} must define from_peft.")


def save_peft(folder: Path, method: Method, backbone: Backbone, checkpoint: str | None) -> None:
    """Write a folder that ``peft.PeftModel.from_pretrained(model, folder)`` loads.

    Args:
        folder: made if missing; two files are written, each complete or not at all.
        method: trained.
        backbone: it was trained on.
        checkpoint: what peft should name as the base model.

    Raises:
        AdapterError: peft has no such method.
    """
    if not isinstance(method, PeftCompatible):
        raise AdapterError(
            f"{type(method).__name__} has no counterpart in peft; use it as a saved adapter of ours."
        )
    method.check_peft(backbone.dims)
    config, tensors = method.to_peft(backbone)
    config |= {"task_type": TASK, "inference_mode": True, "base_model_name_or_path": checkpoint}
    write_tensors(folder / TENSORS, tensors)
    write_json(folder / CONFIG, config | {"peft_type": method.peft_types[0]})


def read_peft(folder: Path) -> tuple[Config, Tensors]:
    """Read a folder that peft wrote.

    Raises:
        AdapterError: it is not such a folder, is damaged, or its tensors are pickled.
    """
    try:
        config = read_json(folder / CONFIG)
    except DataError as error:
        raise AdapterError(f"{folder} is not an adapter of peft's: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise AdapterError(
            f"{folder / CONFIG}: peft_type: missing; it is not an adapter of peft's."
        )
    if not (folder / TENSORS).is_file() and (folder / "adapter_model.bin").exists():
        raise AdapterError(
            f"{folder} has adapter_model.bin only, a pickle, which runs code when it is read. Save it again with "
            "peft: model.save_pretrained(folder), which writes adapter_model.safetensors."
        )
    return config, read_tensors(folder / TENSORS)


def refuse_options(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Name every option that is switched on and that the method does not know.

    Args:
        config: peft's.
        known: options that the method takes care of.

    Raises:
        AdapterError: such as use_dora or modules_to_save.
    """
    passed = INERT | set(known)
    wrong = [f"{key}={value!r}" for key, value in config.items() if key not in passed and value]
    if config.get("bias", "none") == "none":
        wrong = [word for word in wrong if not word.startswith("bias=")]
    if config.get("task_type") not in (None, TASK):
        wrong.append(f"task_type={config['task_type']!r}")
    if wrong:
        raise AdapterError(
            f"{config['peft_type']}: {', '.join(wrong)[:500]} cannot be represented by a method of ours."
        )


def number(config: Mapping[str, Any], key: str, least: float) -> float:
    """Read a number of peft's configuration.

    Raises:
        AdapterError: it is missing, not a number, or below `least`.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise AdapterError(
            f"{config['peft_type']}: {key}={value!r}: must be a number from {least:g} on."
        )
    return value


def expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the tensor.

    Raises:
        AdapterError: it has another shape, or whole numbers.
    """
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        raise AdapterError(
            f"tensor {name} is {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}; here it must be "
            f"floating point {shape}."
        )
    return tensor.float()


def module_names(backbone: Backbone) -> dict[Place, str]:
    """What peft calls the module of each site, "base_model.model.model.layers.0.self_attn.q_proj"."""
    names = {id(module): WRAPPED + name for name, module in backbone.model.named_modules()}
    return {
        (layer, site): names[id(backbone.family.site(layer, site).module)]
        for layer in range(backbone.dims.num_layers)
        for site in backbone.dims.linears
    }


def by_place(tensors: Tensors, endings: Iterable[str], backbone: Backbone) -> dict[Place, Tensors]:
    """Sort peft's tensors by the site they belong to.

    Args:
        tensors: such as "<module>.lora_A.weight".
        endings: every site that has one needs all of them, "lora_A.weight" and "lora_B.weight".
        backbone: whose modules they are.

    Returns:
        For each site, its tensors by ending.

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
                f"tensor {name} belongs to none of the linear maps that methods act on here: "
                f"{', '.join(backbone.dims.linears)} of each block."
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
    """The modules that hold these tensors, each by parent and own name ("self_attn.q_proj").

    Args:
        tensor_names: of a peft adapter.
        depth: how many parts of a name are the tensor's rather than the module's.
    """
    return sorted({".".join(name.split(".")[-depth - 2 : -depth]) for name in tensor_names})


def stored_transposed(backbone: Backbone, site: str) -> bool:
    """Whether the model keeps a site's weight as (in, out); peft calls it fan_in_fan_out."""
    return not isinstance(backbone.family.site(0, site).module, nn.Linear)
