"""Numbers of a training run (paper, Appendix F) and their checks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iapt.errors import ConfigError, closest

PAPER_MAX_LENGTH = 2048  # App. F
SMALL_TRAINING_SET = 10_000  # App. F: batch 16 below this many examples, 128 from there on


@dataclass(frozen=True)
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

    name: str
    lr: float = 1e-4
    lr_by_name: Mapping[str, float] = field(default_factory=dict)
    arch_lr: float = 1e-6
    arch_every: int = 1
    arch_data: str = "dev"
    weight_decay: float = 0.0
    warmup: float = 0.06
    clip: float = 1.0
    max_epochs: int = 10
    max_steps: int | None = None
    batch_size: int | None = None
    batch_tokens: int = 8192
    eval_batch_tokens: int = 16384
    eval_every: int = 200
    patience: int = 10
    max_length: int | None = None
    num_beams: int | None = None
    checkpoint_every: int = 50
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        faults = []
        for name in ("lr", "clip", "arch_lr"):
            if not getattr(self, name) >= 0 or (name != "arch_lr" and getattr(self, name) == 0):
                faults.append(f"hparams.{name}={getattr(self, name)}: must be a positive number.")
        for name in ("arch_every", "max_epochs", "batch_tokens", "eval_batch_tokens", "eval_every", "patience",
                     "max_length", "checkpoint_every", "max_steps", "batch_size", "num_beams"):  # fmt: skip
            value = getattr(self, name)
            optional = name in ("max_steps", "batch_size", "num_beams", "max_length")
            if (value is None and not optional) or (
                value is not None and (not isinstance(value, int) or value < 1)
            ):
                faults.append(
                    f"hparams.{name}={value}: must be a whole number >= 1{' or null' if optional else ''}."
                )
        for key, rate in self.lr_by_name.items():
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
                faults.append(f"hparams.lr_by_name.{key}={rate!r}: must be a positive number.")
        if not 0 <= self.warmup < 1:
            faults.append(f"hparams.warmup={self.warmup}: must be in [0, 1).")
        if self.weight_decay < 0:
            faults.append(f"hparams.weight_decay={self.weight_decay}: must be >= 0.")
        if self.arch_data not in ("dev", "train_split"):
            faults.append(
                f"hparams.arch_data={self.arch_data!r}: allowed are dev, train_split."
                f"{closest(self.arch_data, ('dev', 'train_split'))}"
            )
        if faults:
            raise ConfigError("\n".join(faults))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "HParams":
        """Build from a configuration mapping; unknown keys and wrong types are named together.

        Raises:
            ConfigError: with every fault found.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        faults = [
            f"hparams.{key}: unknown; allowed are {', '.join(known)}.{closest(key, known)}"
            for key in values
            if key not in known
        ]
        for key, value in values.items():
            kind = str(known[key].type) if key in known else ""
            if kind == "<class 'bool'>" and not isinstance(value, bool):
                faults.append(f"hparams.{key}={value!r}: must be true or false.")
            if "Mapping" in kind and not isinstance(value, Mapping):
                faults.append(f"hparams.{key}={value!r}: must be a mapping of names to numbers.")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            numeric = ("int" in kind or "float" in kind) and "Mapping" not in kind
            if numeric and not (number or (value is None and "None" in kind)):
                faults.append(
                    f"hparams.{key}={value!r}: must be a number{' or null' if 'None' in kind else ''}."
                )
        if faults:
            raise ConfigError("\n".join(faults))
        return cls(**values)

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
