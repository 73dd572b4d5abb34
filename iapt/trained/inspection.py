"""Show what a trained method learned, and which tokens of some prompts it attends to."""

from collections.abc import Sequence
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.methods.base import Method
from iapt.methods.inspected import Inspectable
from iapt.results.inspection import MOST_PROMPTS, MOST_TOKENS, Attended, Inspection

DIGITS = 5


def inspect(
    method: Method, backbone: Backbone, tokenizer: Any, prompts: Sequence[Sequence[int]]
) -> Inspection | None:
    """Return what a trained method has to show, None for nothing; it is attached, in evaluation mode.

    Of the prompts, each as tokens, the first few that are not too long are used.
    """
    if not isinstance(method, Inspectable):
        return None
    looked_at = [ids for ids in prompts if len(ids) <= MOST_TOKENS][:MOST_PROMPTS]
    backbone.train(False)
    with torch.no_grad():
        found = [_attended(method, backbone, tokenizer, list(ids)) for ids in looked_at]
        made = Inspection(
            functions=tuple(method.functions()), prompts=tuple(p for p in found if p.weights)
        )
    return made if made.functions or made.prompts else None


def _attended(method: Inspectable, backbone: Backbone, tokenizer: Any, ids: list[int]) -> Attended:
    batch = torch.tensor([ids], device=backbone.device)
    weights = method.attention(lambda: backbone.prefill(batch))
    return Attended(
        tokens=tuple(tokenizer.decode([token])[:200] for token in ids),
        weights={
            name: tuple(round(min(1.0, max(0.0, w)), DIGITS) for w in row.tolist())
            for name, row in weights.items()
        },
    )
