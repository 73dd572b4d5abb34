"""Checks of the user's own methods before a run: what would otherwise fail after hours, or never be noticed.

Nothing here needs weights.  The methods of this package pass the same checks in its tests.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.backbone.load import without_weights
from iapt.configuration.plugins import blamed
from iapt.errors import ConfigError
from iapt.methods.base import Method, trained

NO_VALUES = "meta tensor"  # part of torch's errors when a value is read that is not there


def check_built(method: Method) -> None:
    """Refuse a method whose `__init__` left it unfinished.

    Raises:
        ConfigError: it is no module of torch yet, or a parameter has no shape.
    """
    name = type(method).__name__
    if "_parameters" not in vars(method):
        raise ConfigError(f"method: {name}.__init__ must begin with super().__init__().")
    lazy = [key for key, p in method.named_parameters() if is_lazy(p)]
    if lazy:
        raise ConfigError(
            f"method: {name}: {lazy[0]} has no shape yet; take its sizes from dims in __init__(dims, ...)."
        )


def check_outside(make: Callable[[], Method], dims: Dims, name: str) -> None:
    """Attach a method to a backbone without weights, and refuse one that could not be trained, saved and loaded.

    Args:
        make: builds the method; is called once or twice. The caller's random state does not change.
        dims: sizes of the backbone.
        name: of the method's entry, for messages.

    Raises:
        ConfigError: `attach` raises, calls no verb, makes tensors or draws; a tensor is drawn and not saved; or
            `arch_parameters` or `penalty` returns something else than it should.
    """
    where = f"method={name}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method, backbone = make(), without_weights(dims)
        try:
            attach(method, backbone, where)
        except ConfigError as error:
            if NO_VALUES in str(error):  # it reads the backbone's weights: the run itself will see
                return
            raise
        _check_hooks(method, where)
        hidden = dict(_unsaved(method))
        if hidden:
            torch.manual_seed(1)
            other = make()
            backbone.detach()
            other.attach(backbone)
            _check_constant(hidden, dict(_unsaved(other)), where)


def attach(method: Method, backbone: Backbone, where: str) -> None:
    """Attach a method to a bare backbone, and refuse one that another process would not attach alike.

    Args:
        method: freshly built.
        backbone: nothing is attached to it.
        where: how messages begin.

    Raises:
        ConfigError: `attach` raises, makes tensors, draws random numbers, or calls no verb.
    """
    before, drawn = method.state_dict().keys(), torch.get_rng_state()
    _call(method, "attach", where, backbone)
    made = [key for key in method.state_dict() if key not in before]
    if made:
        raise ConfigError(
            f"{where}: attach makes {made[0]}, which a saved adapter could not be loaded into; make it in "
            "__init__(dims, ...)."
        )
    if not torch.equal(drawn, torch.get_rng_state()):
        raise ConfigError(
            f"{where}: attach draws random numbers, which a loaded adapter would draw anew; draw them in "
            "__init__(dims, ...), into a parameter or a persistent buffer."
        )
    if backbone.idle():
        raise ConfigError(
            f"{where}: attach calls none of the backbone's verbs (backbone.on_linear, ...), so training would "
            "change nothing."
        )


def _check_hooks(method: Method, where: str) -> None:
    own = {id(p) for p in trained(method).values()}
    arch = _call(method, "arch_parameters", where)
    if not isinstance(arch, list | tuple) or not {id(p) for p in arch} <= own:
        raise ConfigError(
            f"{where}: arch_parameters must return a list of parameters that are trained."
        )
    if own and {id(p) for p in arch} == own:
        raise ConfigError(
            f"{where}: arch_parameters returns all parameters; leave some to the weights' steps."
        )
    penalty = _call(method, "penalty", where)
    scalar = isinstance(penalty, Tensor) and penalty.dim() == 0 and penalty.requires_grad
    if penalty is not None and not scalar:
        raise ConfigError(
            f"{where}: penalty must return None or a scalar tensor that depends on parameters."
        )


def _call(method: Method, hook: str, where: str, *arguments: object) -> Any:
    try:
        return getattr(method, hook)(*arguments)
    except Exception as error:
        raise ConfigError(f"{where}: {hook} raised {blamed(error, type(method))}.") from error


def _unsaved(method: Method) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a method's modules that its saved adapter does not contain, by name."""
    saved = {t.untyped_storage().data_ptr() for t in method.state_dict().values()}
    for path, module in method.named_modules():
        for key, value in {**vars(module), **module._buffers}.items():
            for tensor in () if key == "_buffers" else _tensors(value):
                if tensor.untyped_storage().data_ptr() not in saved:
                    yield f"{path}.{key}".removeprefix("."), tensor


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)
    elif isinstance(value, Tensor):
        yield value


def _check_constant(first: dict[str, Tensor], second: dict[str, Tensor], where: str) -> None:
    for key, tensor in first.items():
        if key not in second or not torch.equal(tensor, second[key]):
            raise ConfigError(
                f"{where}: {key} is drawn at random and not saved, so a loaded adapter would differ from the trained "
                "one; make it a parameter (requires_grad=False if it is not trained) or a persistent buffer."
            )
