"""Whether a user's own method looks ahead: a token's logits may not depend on the tokens after it.

A function that mixes tokens (a mean over the sequence, a shift) sees the answer while it is trained on it, and
nothing but a low loss would show it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.configuration.plugins import blamed
from iapt.data.encode import Encoded
from iapt.errors import TrainingError
from iapt.methods.base import Method, trained

ROUNDING = 1e-5  # of the largest logit; equal shapes give equal bits almost everywhere


def nudge(parameters: Iterable[nn.Parameter]) -> None:
    """Move parameters a little, always alike, so that a method whose start is neutral has an effect."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.02 * torch.randn(p.shape, generator=draw).to(p))


def check_lookahead(method: Method, backbone: Backbone, example: Encoded, where: str) -> None:
    """Compare the logits at an instruction's end before two different answers of the same length.

    Args:
        method: attached; its parameters and random draws are as before afterwards.
        backbone: the frozen model.
        example: a short one.
        where: how messages begin.

    Raises:
        TrainingError: the logits differ by more than rounding, or the method's functions fail.
    """
    parameters, mode = list(trained(method).values()), method.training
    before = [p.detach().clone() for p in parameters]
    cuda = backbone.device.type == "cuda"
    method.eval()
    try:
        with torch.random.fork_rng([backbone.device] if cuda else []):
            with backbone.disabled():
                rounding, largest = _gap(backbone, example)
            nudge(parameters)
            gap, _ = _gap(backbone, example)
    except Exception as error:
        raise TrainingError(
            f"{where}: its first forward pass raised {blamed(error, type(method))}."
        ) from error
    finally:
        method.train(mode)
        with torch.no_grad():
            for p, start in zip(parameters, before, strict=True):
                p.copy_(start)
    if gap > ROUNDING * largest + 10 * rounding:
        raise TrainingError(
            f"{where}: it looks ahead: with another answer, the logits at the end of the instruction differ by "
            f"{gap:.2g}. Let the functions of on_linear, on_sublayer and on_block act on each token by itself, and "
            "those of soft_prompt use only tokens where the mask is true."
        )


def _gap(backbone: Backbone, example: Encoded) -> tuple[float, float]:
    """Return by how much the logits differ at the end of the instruction, and the largest of them.

    The passes follow gradients, as in training, because some functions fail only then.
    """
    size = len(example.instruction)
    ids = torch.tensor([example.instruction + example.response], device=backbone.device)
    other = ids.clone()
    other[:, size:] = (other[:, size:] + 1) % backbone.dims.vocab_size
    columns = torch.arange(ids.shape[1], device=ids.device)[None]

    def logits(tokens: Tensor) -> Tensor:
        torch.manual_seed(0)  # for functions that draw
        made = backbone(tokens, None, columns < size, select=columns == size - 1)
        return made.detach().float()

    one, two = logits(ids), logits(other)
    return float((one - two).abs().max()), float(one.abs().max())
