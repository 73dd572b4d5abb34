"""P-tuning: trained soft tokens in front of the input (Liu et al. 2021, "GPT understands, too").

    input = [P_1 .. P_n ; emb(x)],    P_i = z_i V_i        z_i in R^r, V_i in R^{r x d}

The original writes P with an LSTM and an MLP (github.com/THUDM/P-tuning); the paper's Appendix F
has 64 soft tokens of size 36, projected to d.  One projection per token gives the 9.4M:
64 * 36 * 4096 = 9,437,184 on LLaMA-2 7B (and 2,304 latents).  Soft tokens come before the text, BOS
included, as in the peft library.

Symbols: n -> prompt_len, r -> latent_dim.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive
from iapt.methods.arguments import Size
from iapt.methods.peft_format import Config, Tensors
from iapt.methods.prompt_vectors import PromptVectors
from iapt.methods.stacked import Stackable


class PTuning(PromptVectors, Stackable):
    """Soft tokens at the input.

    Args:
        dims: sizes of the backbone.
        prompt_len: n.
        latent_dim: r; None trains the soft tokens themselves (prompt tuning).
        init_std: initial standard deviation of the soft tokens; None is that of the backbone's
            embedding table, measured when a fresh method is first attached.
    """

    peft_types = ("PROMPT_TUNING", "P_TUNING")

    def __init__(
        self,
        dims: Dims,
        prompt_len: Size = 64,
        latent_dim: Size | None = 36,
        init_std: Positive | None = None,
    ) -> None:
        std = 1.0 if init_std is None else init_std
        super().__init__(prompt_len, latent_dim, dims.hidden_size, std, own_projection=True)
        self._unscaled = init_std is None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load as in torch; loaded weights already have their scale."""
        self._unscaled = False
        return super().load_state_dict(state_dict, *args, **kwargs)

    def soft_prompt(self, h: Tensor, mask: Tensor) -> Tensor:
        """Return the soft tokens (B,P,D), the same for every row of h (B,T,D)."""
        return self.vectors().expand(len(h), -1, -1)

    def attach(self, backbone: Backbone) -> None:
        if self._unscaled:
            with torch.no_grad():
                self.weights.mul_(backbone.family.embedding_table().std().to(self.weights))
            self._unscaled = False
        backbone.soft_prompt(0, self.soft_prompt, keep=True)

    def to_peft(self, backbone: Backbone) -> tuple[Config, Tensors]:
        dims = backbone.dims
        config, tensors = self.finished(dims, dims.num_heads, dims.hidden_size)
        return config | {"prompt_tuning_init": "RANDOM"}, tensors

    @classmethod
    def from_peft(
        cls, config: Config, tensors: Tensors, backbone: Backbone
    ) -> tuple[Config, Tensors]:
        return cls.from_finished(config, tensors, backbone.dims, backbone.dims.hidden_size)
