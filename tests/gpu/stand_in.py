"""A CUDA device for machines without one: numbers are computed on the CPU, and the rules of a GPU hold.

Inside `stand_in()`, tensors made on or moved to "cuda" know that they are there.  As on a GPU, an
operation fails if it mixes them with tensors of the host, and a recorded graph replays operations
without running Python, so it fails to record what makes the host wait or reads the host's memory.
What it cannot show: speed, memory, the rounding and the limits of real kernels.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MEMORY = 8 * 2**30
ops = torch.ops.aten
# The host reads their result, or its shape.
WAITS = {
    ops._local_scalar_dense.default,
    ops.equal.default,
    ops.masked_select.default,
    ops.nonzero.default,
}
READS = {Tensor.tolist, Tensor.numpy, Tensor.__format__, Tensor.__repr__}
TRANSFERS = {ops.copy_.default, ops._to_copy.default}
INDEXED = {ops.index.Tensor, ops.index_put_.default, ops.index_put.default}


class OnDevice(Tensor):
    """A tensor that is on the device; `host` has its numbers."""

    host: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor) -> "OnDevice":
        made = Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
        )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"{func} outside of stand_in()")


class ToDevice(torch.autograd.Function):
    """The copy of a tensor on the device; gradients take the way back."""

    @staticmethod
    def forward(_: Any, host: Tensor) -> Tensor:
        return OnDevice(host.detach().clone())

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad.host


class ToHost(torch.autograd.Function):
    """The copy of a tensor on the host; gradients take the way back."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.host.clone()

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return OnDevice(grad)


class Graph:
    """What `torch.cuda.CUDAGraph` is: operations at fixed addresses, recorded without being run."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, list[Tensor] | None]] = []
        self.replays = 0

    def add(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Record an operation; its result has its address already, and no numbers."""
        for i, arg in enumerate(func._schema.arguments):
            if arg.alias_info is not None and arg.alias_info.is_write:
                self.operations.append((func, args, kwargs, None))
                return args[i] if i < len(args) else kwargs[arg.name]
        out = func(*args, **kwargs)
        if any(each.alias_info is not None for each in func._schema.returns):
            return out  # a view: it has no numbers of its own
        results = _tensors(out)
        self.operations.append((func, args, kwargs, results))
        for x in results:
            x.fill_(torch.nan if x.is_floating_point() else 1)
        return out

    def replay(self) -> None:
        """Run the operations again, on what their addresses hold now."""
        self.replays += 1
        for func, args, kwargs, results in self.operations:
            made = func(*args, **kwargs)
            for x, y in zip(results or [], _tensors(made) if results else [], strict=True):
                x.copy_(y)


class Device:
    """What happens on the device."""

    def __init__(self) -> None:
        self.graph: Graph | None = None
        self.graphs: list[Graph] = []
        self.waits = 0  # how often the host waited for the device
        self.inside = False  # a call that concerns the device is running

    def wait(self, what: object) -> None:
        """Let the host wait for the device, which is impossible while a graph is recorded."""
        assert self.graph is None, f"{what}: the host waits while a graph is recorded"
        self.waits += 1

    @contextmanager
    def record(self, graph: Graph) -> Iterator[None]:
        """What `torch.cuda.graph` is."""
        self.graph = graph
        self.graphs.append(graph)
        try:
            yield
        finally:
            self.graph = None


class Operations(TorchDispatchMode):
    """Run each operation where its tensors are, which has to be one place."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.on = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        makes = _is_cuda(kwargs.get("device"))
        if makes:
            kwargs["device"] = CPU
        tensors = _tensors((args, kwargs))
        here = makes or any(isinstance(x, OnDevice) for x in tensors)
        if not here and (tensors or not self.on.inside):
            return func(*args, **kwargs)
        if func is ops._fused_sdp_choice.default:
            return 0  # the kernel that is made of other operations
        for x in tensors:
            if not isinstance(x, OnDevice):
                self._check(func, x, args)
        if func in WAITS or (func in INDEXED and _masks(args[1])):
            self.on.wait(func)
        host_args, host_kwargs = _mapped(_host, args), _mapped(_host, kwargs)
        if self.on.graph is None:
            out = func(*host_args, **host_kwargs)
        else:
            out = self.on.graph.add(func, host_args, host_kwargs)
        if not _tensors(out):
            return out
        if func is ops.copy_.default and not isinstance(args[0], OnDevice):
            return args[0]
        there = _mapped(lambda x: OnDevice(x) if isinstance(x, Tensor) else x, out)
        return return_and_correct_aliasing(func, args, kwargs, there)

    def _check(self, func: Any, x: Tensor, args: Any) -> None:
        """Refuse a tensor of the host, but for the few cases that CUDA accepts."""
        accepted = x.dim() == 0 or func in TRANSFERS or (func in INDEXED and x is not args[0])
        assert accepted, f"{func}: a tensor of the host, {tuple(x.shape)}, among the device's"
        if x.dim() or func in TRANSFERS:
            self.on.wait(func)


class Calls(TorchFunctionMode):
    """Let calls that name the device, or have its tensors, concern the device."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.on = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, *args, **kwargs)
        if func in READS and isinstance(args[0], OnDevice):
            assert func is not Tensor.numpy, "numpy() of a tensor of the device"
            self.on.wait(func)
            return func(args[0].host, *args[1:], **kwargs)
        named, before = kwargs.get("device"), self.on.inside
        if func is torch.as_tensor and args and isinstance(args[0], Tensor):
            return self._moved(Tensor.to, *args, **kwargs)
        read = func in (torch.tensor, torch.as_tensor) and _is_cuda(named)  # numbers of the host
        if read:
            self.on.wait(func)
            kwargs["device"] = CPU
        there = _is_cuda(named) or any(isinstance(x, OnDevice) for x in _tensors((args, kwargs)))
        self.on.inside = there and not read and (named is None or _is_cuda(named))
        try:
            made = func(*args, **kwargs)
        finally:
            self.on.inside = before
        return ToDevice.apply(made) if read else made

    def _moved(self, func: Any, x: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        dtype = None
        if func is Tensor.to and args and isinstance(args[0], Tensor):
            device, dtype = args[0].device, args[0].dtype
        elif func is Tensor.to:
            device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        else:
            device = CPU if func is Tensor.cpu else CUDA
        if device is not None and _is_cuda(device) != isinstance(x, OnDevice):
            self.on.wait("a transfer")
            x = (ToDevice if _is_cuda(device) else ToHost).apply(x)
        elif copy:
            x = x.clone()
        return x if dtype in (None, x.dtype) else x.type(dtype)


class Stream:
    """Everything runs in order, whatever its stream."""

    def wait_stream(self, other: "Stream") -> None:
        """Nothing to wait for."""


@contextmanager
def _stream(_: Stream) -> Iterator[None]:
    yield


@contextmanager
def stand_in() -> Iterator[Device]:
    """Let "cuda" be a device of this machine."""
    device = Device()
    card = SimpleNamespace(name="stand-in", total_memory=MEMORY, major=8, minor=0)

    def nothing(*_: object) -> None:
        pass

    found = {
        "_lazy_init": nothing,
        "current_stream": Stream,
        "CUDAGraph": Graph,
        "device_count": lambda: 1,
        "device_of": lambda _: nullcontext(),
        "empty_cache": nothing,
        "get_device_name": lambda *_: card.name,
        "get_device_properties": lambda *_: card,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "graph": device.record,
        "is_available": lambda: True,
        "max_memory_allocated": lambda *_: MEMORY,
        "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "reset_peak_memory_stats": nothing,
        "set_rng_state": nothing,
        "Stream": Stream,
        "stream": _stream,
        "synchronize": nothing,
    }
    with ExitStack() as stack:
        for name, it in found.items():
            stack.enter_context(patch.object(torch.cuda, name, it))
        # A module's parameters cannot become the device's where they are, as they do on a real one.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        stack.enter_context(Calls(device))
        stack.enter_context(Operations(device))
        yield device


def _tensors(tree: Any) -> list[Tensor]:
    """Return the tensors among arguments or results."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        return []
    return [x for each in tree for x in _tensors(each)]


def _mapped(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Return the arguments or results with each leaf x replaced by fn(x)."""
    if isinstance(tree, dict):
        return {key: _mapped(fn, each) for key, each in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)([_mapped(fn, each) for each in tree])
    return fn(tree)


def _masks(indices: Any) -> bool:
    return any(x.dtype == torch.bool for x in _tensors(indices))


def _host(x: Any) -> Any:
    return x.host if isinstance(x, OnDevice) else x


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"
