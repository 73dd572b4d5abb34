"""The stand-in keeps the rules of a GPU; without it, the tests of this folder could not fail."""

import pytest
import torch
from torch import nn

from tests.gpu.on_devices import STAND_IN
from tests.gpu.stand_in import Device

pytestmark = STAND_IN


def test_there_is_no_gpu_afterwards(gpu: Device) -> None:
    assert torch.cuda.is_available()
    gpu_tensor = torch.ones(2, device="cuda")
    assert str(gpu_tensor.device) == "cuda:0"
    assert gpu_tensor.is_cuda
    assert not torch.ones(2).is_cuda


@pytest.mark.parametrize("of_host", [torch.ones(2, 2), torch.ones(2)])
def test_tensors_of_host_and_device_do_not_mix(gpu: Device, of_host: torch.Tensor) -> None:
    x = torch.ones(2, 2, device="cuda")
    with pytest.raises(AssertionError, match="a tensor of the host"):
        x + of_host
    with pytest.raises(AssertionError, match="a tensor of the host"):
        torch.cat([x, of_host])
    with pytest.raises(AssertionError, match="a tensor of the host"):
        of_host[torch.zeros(1, dtype=torch.long, device="cuda")]
    assert (x + torch.tensor(1.0)).sum() == 8, "a number of the host is accepted, as by CUDA"


def test_a_module_trains_there_as_it_does_here(gpu: Device) -> None:
    here, there = nn.Linear(3, 2), nn.Linear(3, 2)
    there.load_state_dict(here.state_dict())
    there.to("cuda")
    x = torch.randn(4, 3)
    for module, rows in ((here, x), (there, x.to("cuda"))):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
        module(rows).square().sum().backward()
        optimizer.step()
    assert there.weight.is_cuda
    torch.testing.assert_close(there.weight.cpu(), here.weight)


def test_gradients_cross_between_host_and_device(gpu: Device) -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    (x.to("cuda") ** 2).to("cpu").sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 6.0]


def test_a_graph_computes_when_it_is_replayed_and_without_python(gpu: Device) -> None:
    counter, source = torch.zeros(1, device="cuda"), torch.ones(2, device="cuda")
    calls = []
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        calls.append(1)
        result = source[1:] * 2
        counter += 1
    assert counter.item() == 0, "recording computes nothing"
    assert result.isnan().all()
    for value in (3.0, 5.0):
        source.fill_(value)
        graph.replay()
        assert result.item() == 2 * value
    assert counter.item() == 2
    assert len(calls) == 1


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x + torch.ones(2).to("cuda"),
        lambda x: x + torch.tensor([1.0, 2.0], device="cuda"),
        lambda x: x[torch.tensor([0])],
    ],
)
def test_the_host_waits_and_cannot_while_a_graph_is_recorded(gpu: Device, reads) -> None:  # type: ignore[no-untyped-def]
    x = torch.ones(2, device="cuda")
    before = gpu.waits
    reads(x)
    assert gpu.waits == before + 1
    with pytest.raises(AssertionError), torch.cuda.graph(torch.cuda.CUDAGraph()):
        reads(x)
