"""Numbers of a training run (paper, Appendix F) and their checks."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from iapt.configuration.checking import STRICT, Count, Name, Positive, checked
from iapt.errors import ConfigError

NotNegative = Annotated[float, Field(ge=0)]

PAPER_MAX_LENGTH = 2048  # App. F
SMALL_TRAINING_SET = 10_000  # App. F: batch 16 below this many examples, 128 from there on


@dataclass(frozen=True, config=STRICT)
class HParams:
    """One training run's numbers.

    Attributes:
        name: the preset, e.g. "paper"; part of the result row.
        lr: peak learning rate of the method's weights (Ω).
        lr_by_name: other peak rates for parameters whose name contains the key.
        arch_lr: peak learning rate of architecture parameters (Θ).
        arch_every: one Θ step before every this many Ω steps.
        arch_data: where Θ batches come from: "dev" (paper) or "train_split" (10 % of train held out).
        weight_decay: AdamW's.
        warmup: fraction of steps with rising learning rate.
        clip: largest gradient norm.
        max_epochs: passes over the training set, unless `max_steps` is smaller.
        max_steps: optimizer steps, or None.
        batch_size: examples of an optimizer step; None is the rule of App. F.
        batch_tokens: padded tokens that go through the model at once while training.
        eval_batch_tokens: the same while evaluating and decoding (beams counted).
        eval_every: optimizer steps between evaluations; an epoch if that is shorter.
        patience: stop after this many evaluations without a lower dev loss.
        max_length: longest sequence in tokens; None is 2048, or what the backbone leaves beside soft
            tokens if that is less.
        num_beams: beams of the test decoding; None is the task's own number.
        checkpoint_every: optimizer steps between checkpoints to resume from.
        gradient_checkpointing: recompute blocks in the backward pass.
    """

    name: Name
    lr: Positive = 1e-4
    lr_by_name: Mapping[str, Positive] = field(default_factory=dict)
    arch_lr: NotNegative = 1e-6
    arch_every: Count = 1
    arch_data: Literal["dev", "train_split"] = "dev"
    weight_decay: NotNegative = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.06
    clip: Positive = 1.0
    max_epochs: Count = 10
    max_steps: Count | None = None
    batch_size: Count | None = None
    batch_tokens: Count = 8192
    eval_batch_tokens: Count = 16384
    eval_every: Count = 200
    patience: Count = 10
    max_length: Count | None = None
    num_beams: Count | None = None
    checkpoint_every: Count = 50
    gradient_checkpointing: bool = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "HParams":
        """Build from a configuration mapping.

        Raises:
            ConfigError: with every fault found.
        """
        return checked(cls, values, "hparams")

    def batch_size_for(self, num_examples: int) -> int:
        """The optimizer batch for a training set (App. F: 16 below 10k examples, else 128)."""
        return self.batch_size or (16 if num_examples < SMALL_TRAINING_SET else 128)

    def max_length_for(self, positions: int) -> int:
        """Tokens a sequence may have on a backbone with this many positions beside soft tokens.

        Raises:
            ConfigError: `max_length` is set to more.
        """
        if self.max_length is not None and self.max_length > positions:
            raise ConfigError(
                f"hparams.max_length={self.max_length}: the backbone has {positions} positions beside the method's "
                f"soft tokens; use at most {positions}, or null to take what fits."
            )
        return self.max_length or min(PAPER_MAX_LENGTH, positions)

    def steps_for(self, num_examples: int) -> int:
        """Planned optimizer steps for a training set."""
        steps = self.max_epochs * -(-num_examples // self.batch_size_for(num_examples))
        return steps if self.max_steps is None else min(steps, self.max_steps)
