"""What `iapt-bench` measures on: one backbone, methods over it, and texts of any length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.load import family_of, load_backbone, load_tokenizer
from iapt.data.encode import Encoded
from iapt.data.tokens import Tokens
from iapt.data.truncation import fitting
from iapt.errors import ConfigError
from iapt.evaluation import encode_to_learn
from iapt.inference.instruction import APPENDIX_G, FILLER
from iapt.plan import Plan
from iapt.training.step import Data

MOST_RANDOM = 10_000  # rows of random tokens


@dataclass(frozen=True)
class Bench:
    """One backbone and what is to be measured on it.

    Attributes:
        settings: the values of the command's keys.
        plans: method -> its plan.
        backbone: the bare backbone.
        tokenizer: the backbone's tokenizer; None with random weights.
    """

    settings: Mapping[str, Any]
    plans: Mapping[str, Plan]
    backbone: Backbone
    tokenizer: Any

    @classmethod
    def load(cls, settings: Mapping[str, Any], plans: Mapping[str, Plan]) -> "Bench":
        """Load the backbone, or make one of its shape (weights=random).

        Raises:
            ConfigError: random weights are to be quantised.
        """
        plan = next(iter(plans.values()))
        if settings["weights"] == "trained":
            tokenizer = load_tokenizer(plan.backbone)
            return cls(
                settings, plans, load_backbone(plan.backbone, plan.device).backbone, tokenizer
            )
        if plan.backbone.quantization is not None:
            raise ConfigError(
                f"backbone.quantization={plan.backbone.quantization}: random weights are made in backbone.dtype. "
                "Omit it or weights=random."
            )
        # With `auto`, as large as the real weights are on a GPU, whatever the device.
        auto = plan.backbone.dtype == "auto"
        dtype = torch.bfloat16 if auto else plan.backbone.torch_dtype(plan.device)
        return cls(settings, plans, _random_backbone(plan, dtype), None)

    @property
    def plan(self) -> Plan:
        """The first plan; the plans differ only in the method."""
        return next(iter(self.plans.values()))

    @property
    def name(self) -> str:
        """The backbone's name."""
        random = " (random weights)" if self.tokenizer is None else ""
        return f"{self.plan.backbone.name}{random}"

    @property
    def device(self) -> torch.device:
        """The device that everything runs on."""
        return self.plan.device

    @property
    def ends(self) -> tuple[int, int]:
        """The ids of the end and the pad token."""
        if self.tokenizer is None:
            return 1, 2
        return self.tokenizer.eos_token_id, self.tokenizer.pad_token_id

    def of(self, methods: Sequence[str], settings: Mapping[str, Any]) -> "Bench":
        """Return the bench with these methods only, and with some settings replaced."""
        plans = {name: self.plans[name] for name in methods}
        own = {**self.settings, **settings, "methods": tuple(methods)}
        return replace(self, plans=plans, settings=own)

    def filler(self, rows: int) -> Tensor:
        """Return meaningless instructions (rows, instruction_tokens)."""
        size = self.settings["instruction_tokens"]
        if self.tokenizer is None:
            draw = torch.Generator().manual_seed(0)
            high = self.backbone.dims.vocab_size
            ids = torch.randint(3, high, (rows, size), generator=draw)
        else:
            text = FILLER * (1 + size // 10)
            found = self.tokenizer(text, add_special_tokens=False).input_ids[:size]
            ids = torch.tensor([found] * rows)
        return ids.to(self.backbone.device)

    def appendix_g(self) -> Tensor:
        """Return Appendix G's instruction (1, T) as this backbone reads it; without a tokenizer, a filler."""
        if self.tokenizer is None:
            return self.filler(1)
        text = self.plan.backbone.template.format_map({"query": APPENDIX_G})
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        if self.plan.backbone.bos:
            ids = [self.tokenizer.bos_token_id, *ids]
        return torch.tensor([ids], device=self.backbone.device)

    def rows(self) -> Data:
        """Return the rows that training steps visit; without a tokenizer, random tokens.

        Raises:
            ConfigError: there are too few rows for the steps, or more random ones than are useful.
        """
        plan, tokenizer = self.plan, self.tokenizer
        batch, steps = self.settings["batch"], self.settings["steps"]
        if tokenizer is None:
            if batch * steps > MOST_RANDOM:
                raise ConfigError(
                    f"batch={batch} steps={steps}: {batch * steps:,} random rows, but {MOST_RANDOM:,} are the most; "
                    "lower them."
                )
            return self._random_rows(batch * steps)
        examples = plan.task.examples("train", plan.source)
        if len(examples) < batch * steps:
            raise ConfigError(
                f"batch={batch} steps={steps}: {batch * steps:,} examples are needed, but {plan.cell['data']} has "
                f"{len(examples):,}; lower them, or give a larger data=."
            )
        examples = examples[: batch * steps]
        tokens = Tokens(tokenizer, plan.backbone.template, plan.backbone.bos, plan.max_length)
        encoded = encode_to_learn(plan.task, examples, tokens)
        found = fitting(examples, encoded, plan.max_length, plan.place, skip=False)
        return Data(found.encoded, tokenizer.pad_token_id, tokenizer.eos_token_id)

    def cast(self, dtype: str) -> Backbone:
        """Return the backbone in another dtype, as a separate model."""
        if dtype == self.backbone.dtype_name:
            return self.backbone
        if self.tokenizer is None:
            return _random_backbone(self.plan, getattr(torch, dtype))
        config = replace(self.plan.backbone, dtype=dtype)  # type: ignore[arg-type]  # checked by the command
        return load_backbone(config, self.device).backbone

    def _random_rows(self, count: int) -> Data:
        """Return rows of random tokens, whose instructions have from half of instruction_tokens to all of them."""
        longest, (eos, pad) = self.settings["instruction_tokens"], self.ends
        rows = []
        for i, ids in enumerate(self.filler(count).tolist()):
            size = longest - (longest // 2) * i // count
            rows.append(Encoded(tuple(ids[:size]), (ids[-1], eos)))
        return Data(rows, pad, eos)


def _random_backbone(plan: Plan, dtype: torch.dtype) -> Backbone:
    from iapt.backbone.tiny import random_model

    model = random_model(plan.backbone.dims, dtype, plan.device)
    model.config._attn_implementation = plan.backbone.attn
    return Backbone(family_of(model))
