"""RMS norm against Hugging Face's, values and gradients."""

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from iapt.backbone.norm import rms_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(12,), (3, 12), (2, 5, 12)])
def test_values_and_gradients_are_hugging_faces(shape: tuple[int, ...], dtype: torch.dtype):
    torch.manual_seed(0)
    x = (3 * torch.randn(shape)).to(dtype).requires_grad_()
    weight, g = torch.randn(12).to(dtype), torch.randn(shape).to(dtype)
    norm = LlamaRMSNorm(12, eps=1e-2)
    norm.weight = nn.Parameter(weight, requires_grad=False)
    found, expected = rms_norm(x, weight, 1e-2), norm(x)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        assert torch.equal(rms_norm(x, weight, 1e-2), found), "the way of a decoding step"
    torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in (found, expected)))


def test_a_stream_of_another_dtype_than_the_weight_keeps_its_own():
    x, weight = torch.randn(2, 12), torch.randn(12, dtype=torch.bfloat16)
    assert rms_norm(x, weight, 1e-5).dtype == torch.float32


def test_a_second_derivative_is_refused_rather_than_wrong():
    x, weight = torch.randn(2, 12, requires_grad=True), torch.randn(12)
    (g,) = torch.autograd.grad(rms_norm(x, weight, 1e-5).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(g.sum(), x)
