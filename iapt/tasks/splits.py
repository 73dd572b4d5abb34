"""Train, dev and test from the official splits (Appendices C.1 and C.2).

The official test sets have no public labels, so the paper makes its own splits:

- halve_validation (RTE, COPA, BoolQ): half of the official validation set is dev, half is test;
- hold_out (SST-2, QNLI, ReCoRD, SQuAD, Alpaca: 1,000; GSM8K: 500): rows of train become dev;
- official (E2E, WikiSQL): the released splits as they are.

The choice of rows is fixed: it depends on the row number and `SPLIT_SEED`, never on the run's seed, so
that the five seeds of a run share one test set. Rows keep their order.
"""

from hashlib import sha256
from typing import Any, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from iapt.configuration.checking import STRICT, Count, Text

SPLIT_SEED = 0
SLICE_SHARE = 10  # folders and samples give at most one row in ten to dev


@dataclass(frozen=True, config=STRICT)
class SplitRule:
    """The rule that makes the three splits.

    Args:
        rule: "halve_validation", "hold_out" or "official".
        rows: hold_out only: how many training rows become dev.
        train: the official split used for training, or None.
        dev: official only: the official split used as dev, or None.
        test: the official split used as test, or None; halve_validation makes its own.
    """

    rule: Literal["halve_validation", "hold_out", "official"]
    rows: Count | None = None
    train: Text | None = "train"
    dev: Text | None = "validation"
    test: Text | None = "validation"

    @model_validator(mode="after")
    def _has_its_rows(self) -> "SplitRule":
        """Refuse hold_out without the number of rows to hold out."""
        if self.rule == "hold_out" and self.rows is None:
            raise ValueError("rows: missing; hold_out needs the number of training rows for dev.")
        return self

    def official(self, split: str) -> str | None:
        """Return the official split from which a split is taken, or None if there is no such split."""
        if split == "train":
            return self.train
        if self.rule == "halve_validation":
            return self.dev
        if split == "dev":
            return self.train if self.rule == "hold_out" else self.dev
        return self.test

    def splits(self) -> list[str]:
        """Return the names of the splits that this rule makes."""
        return [s for s in ("train", "dev", "test") if self.official(s) is not None]

    def held_out(self, n: int, *, exact: bool) -> int:
        """Return how many of n training rows become dev.

        Args:
            n: rows of the official training split.
            exact: True for released data, to get the paper's number for any n; False for folders and
                samples, to get at most a tenth of the rows.
        """
        if self.rule != "hold_out" or self.rows is None:
            return 0
        return self.rows if exact else min(self.rows, n // SLICE_SHARE)

    def indices(self, split: str, n: int, *, exact: bool) -> list[int]:
        """Return the row numbers of a split within its official split of n rows, ascending."""
        if self.rule == "halve_validation" and split != "train":
            order = shuffled(n)
            half = n // 2  # dev gets the smaller half of an odd number
            return sorted(order[:half] if split == "dev" else order[half:])
        if self.rule == "hold_out" and split != "test":
            order = shuffled(n)
            held = self.held_out(n, exact=exact)
            return sorted(order[:held] if split == "dev" else order[held:])
        return list(range(n))

    def least(self, split: str, *, exact: bool) -> int:
        """Return the fewest rows of an official split from which a split gets one; `exact` as in `held_out`."""
        if self.rule == "halve_validation" and split == "dev":
            return 2
        if self.rule == "hold_out" and split == "dev" and not exact:
            return SLICE_SHARE
        if self.rule == "hold_out" and split == "train" and exact:
            return (self.rows or 0) + 1
        return 1

    def sentence(self) -> str:
        """Describe the rule in words, for Table 6."""
        if self.rule == "halve_validation":
            return f"dev and test are the halves of {self.dev}"
        if self.rule == "hold_out":
            test = "" if self.test is None else f", test is {self.test}"
            return f"dev is {self.rows:,} rows of {self.train}{test}"
        return "as released"

    def describe(self) -> dict[str, Any]:
        """Return the rule as plain values."""
        return {"rule": self.rule, "rows_asked": self.rows, "split_seed": SPLIT_SEED}


def shuffled(n: int, seed: int = SPLIT_SEED) -> list[int]:
    """Return 0..n-1 in an order that is the same on every Python version and machine."""
    return sorted(range(n), key=lambda i: sha256(f"{seed}/{i}".encode()).digest())
