"""The hyperparameters of a training run (Appendix F) and their checks."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from iapt.configuration.checking import STRICT, Count, Name, NonNegative, Positive, Probability
from iapt.errors import ConfigError

PAPER_MAX_LENGTH = 2048  # App. F
SMALL_TRAINING_SET = 10_000  # App. F: batch 16 below this number of examples, otherwise 128


@dataclass(frozen=True, config=STRICT)
class HParams:
    """The hyperparameters of one training run.

    Attributes:
        name: the preset, e.g. "paper"; part of the result row.
        lr: peak learning rate of the method's weights (Ω).
        lr_by_name: different peak rates for parameters whose name contains the key.
        arch_lr: peak learning rate of architecture parameters (Θ).
        arch_every: Ω steps per Θ step, which comes first.
        arch_data: source of Θ batches: "dev" (paper) or "train_split" (10 % of train held out).
        weight_decay: weight decay of the weights (Ω); architecture parameters have none.
        warmup: fraction of steps over which the learning rate rises.
        clip: largest gradient norm.
        max_epochs: passes over the training set, unless `max_steps` is smaller.
        max_steps: optimizer steps, or None.
        batch_size: examples per optimizer step; None follows App. F.
        batch_tokens: most padded tokens in one forward pass of training; halved when a GPU's memory runs out.
        eval_batch_tokens: most padded tokens in one pass of evaluation and decoding, beams included.
        eval_every: optimizer steps between evaluations; one epoch if that is shorter.
        patience: stop after this many evaluations without a lower dev loss.
        max_length: longest sequence in tokens; None is 2048, or the backbone's positions minus the soft
            tokens if that is smaller.
        on_long: what to do with a training or dev row whose response leaves no room for its instruction:
            "error", or "skip" to leave it out and count it.
        num_beams: beams for decoding the test split; None is the task's number.
        checkpoint_every: optimizer steps between checkpoints.
        gradient_checkpointing: recompute blocks in the backward pass.
    """

    name: Name
    lr: Positive = 1e-4
    lr_by_name: Mapping[str, Positive] = field(default_factory=dict)
    arch_lr: NonNegative = 1e-6
    arch_every: Count = 1
    arch_data: Literal["dev", "train_split"] = "dev"
    weight_decay: NonNegative = 0.0
    warmup: Probability = 0.06
    clip: Positive = 1.0
    max_epochs: Count = 10
    max_steps: Count | None = None
    batch_size: Count | None = None
    batch_tokens: Count = 8192
    eval_batch_tokens: Count = 16384
    eval_every: Count = 200
    patience: Count = 10
    max_length: Count | None = None
    on_long: Literal["error", "skip"] = "error"
    num_beams: Count | None = None
    checkpoint_every: Count = 50
    gradient_checkpointing: bool = False

    def batch_size_for(self, num_examples: int) -> int:
        """Return the batch size for a training set."""
        return self.batch_size or paper_batch_size(num_examples)

    def max_length_for(self, positions: int) -> int:
        """Return the longest sequence on a backbone with this number of positions besides soft tokens.

        Raises:
            ConfigError: `max_length` is larger than that.
        """
        if self.max_length is not None and self.max_length > positions:
            raise ConfigError(
                f"hparams.max_length={self.max_length}: the backbone has {positions} positions besides the method's "
                f"soft tokens; use at most {positions}, or null for the largest that fits."
            )
        return self.max_length or min(PAPER_MAX_LENGTH, positions)

    def steps_for(self, num_examples: int) -> int:
        """Return the planned number of optimizer steps for a training set."""
        steps = self.max_epochs * -(-num_examples // self.batch_size_for(num_examples))
        return steps if self.max_steps is None else min(steps, self.max_steps)


def paper_batch_size(num_examples: int) -> int:
    """Return the batch size of App. F for a training set: 16 below 10k examples, else 128."""
    return 16 if num_examples < SMALL_TRAINING_SET else 128
