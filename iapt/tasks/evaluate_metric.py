"""A metric of the `evaluate` library, named in a task's YAML.

    metric: {evaluate: rouge_l}                             # from this package, offline
    metric: {evaluate: bleu, key: bleu, scale: 100}         # published by evaluate; fetched once
    metric: {evaluate: my_metric, kwargs: {beta: 2}}        # your own module, also named in plugins=

A metric is code, so a YAML file alone cannot bring one in: the user's own module must be among the
`plugins`, and the hub supplies only metrics that `evaluate` itself publishes, never those of other
accounts.  When a task is built, its metric must be able to score a right, a wrong and an empty answer.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from pydantic.dataclasses import dataclass

from iapt.configuration.checking import STRICT, Positive, Text, checked, short
from iapt.errors import ConfigError, MetricError, closest
from iapt.metrics.as_evaluate import NAMES, local_metric

if TYPE_CHECKING:
    import evaluate

_TRIAL = "The parcel came three days late."
_WRONG = "No idea"
_PUBLISHED = re.compile(r"[A-Za-z0-9_-]+")


class Modules(Protocol):
    """The user's own modules, which `plugins=` names."""

    def hold(self, target: str) -> bool:
        """Return whether a module is one of them."""

    def load(self, module: str) -> ModuleType:
        """Import it."""


@dataclass(frozen=True, config=STRICT)
class Entry:
    """`metric` in a task's YAML.

    Attributes:
        evaluate: the metric's name.
        key: which of its numbers to use, if it has several.
        scale: the factor that brings the number to 0-100.
        kwargs: options of the metric's `compute`.
    """

    evaluate: Text
    key: Text | None = None
    scale: Positive | None = None
    kwargs: dict[str, Any] | None = None


class EvaluateMetric:
    """One of the numbers that an `evaluate` metric computes over texts.

    Args:
        entry: the fields of an `Entry`.
        modules: the user's own modules.

    Raises:
        ConfigError: the entry is malformed, there is no such metric, or it cannot score texts.
    """

    def __init__(self, entry: Mapping[str, Any], modules: Modules | None) -> None:
        found = checked(Entry, entry, "task.metric")
        named, self._key, scale = found.evaluate, found.key, found.scale
        self._kwargs = found.kwargs or {}
        self._scale = 1.0 if scale is None else scale
        self._said = f"task.metric.evaluate={named!r}"
        self._metric = _load(named, modules, self._said)
        self._many = _takes_several(self._metric, self._said)
        stem = Path(named).stem
        self.name = f"{stem}-{self._key}" if self._key and self._key != stem else stem
        perfect = self._trial()
        if scale is None and perfect <= 1:
            raise ConfigError(
                f"{self._said}: gives a right answer {perfect:g}, but scores are 0-100; add scale: 100, or "
                "scale: 1 if that is intended."
            )

    def score(
        self, parsed: Sequence[str | None], references: Sequence[Sequence[str]]
    ) -> tuple[float, dict[str, float]]:
        """Score answers; None counts as an empty text.

        Returns:
            The value (0-100), and all of the metric's finite numbers, unscaled.

        Raises:
            MetricError: the metric fails or does not give the wanted number, or the value is not within 0-100.
        """
        try:
            numbers = self._numbers(parsed, references)
        except Exception as error:  # third-party code may raise anything
            why = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")
            texts = short([text or "" for text in parsed])
            raise MetricError(f"{self._said}: cannot score {texts}: {why}.") from error
        if self._key is None and len(numbers) == 1:
            value = next(iter(numbers.values()))
        elif self._key in numbers:
            value = numbers[self._key]
        else:
            wanted = f"key={self._key!r} is not among" if self._key else "set key: to one of"
            raise MetricError(
                f"{self._said}: {wanted} its numbers: {', '.join(numbers) or 'none'}."
                f"{closest(self._key or '', numbers)}"
            )
        value *= self._scale
        if not 0 <= value <= 100 + 1e-9:
            raise MetricError(
                f"{self._said}: gave {value:g} with scale {self._scale:g}; must be 0-100."
            )
        return min(value, 100.0), {key: n for key, n in numbers.items() if math.isfinite(n)}

    def _numbers(
        self, parsed: Sequence[str | None], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        found = self._metric.compute(
            predictions=[text or "" for text in parsed],
            references=[list(texts) if self._many else texts[0] for texts in references],
            **self._kwargs,
        )
        pairs = (found or {}).items()
        return {key: n for key, value in pairs if (n := _number(value)) is not None}

    def _trial(self) -> float:
        """Return the value of one right answer, after scoring it beside a wrong and an empty one."""
        try:
            self.score([_WRONG, None, _TRIAL], [[_TRIAL]] * 3)
            return self.score([_TRIAL], [[_TRIAL]])[0]
        except MetricError as error:
            raise ConfigError(str(error)) from error


def module_of(metric: object) -> str:
    """Return the module that a metric's entry may name; empty for this package's metrics."""
    named = metric.get("evaluate") if isinstance(metric, Mapping) else None
    return Path(named).stem if isinstance(named, str) and named not in NAMES else ""


def _load(named: str, modules: Modules | None, said: str) -> "evaluate.EvaluationModule":
    if named in NAMES:
        return local_metric(named)
    own = module_of({"evaluate": named}) if named.endswith(".py") else named
    if modules is not None and modules.hold(own):
        return _of_module(modules.load(own), said)
    here = (Path(f"{named}.py"), Path(named, f"{named}.py"))
    if not _PUBLISHED.fullmatch(named) or any(path.exists() for path in here):
        raise ConfigError(
            f"{said}: is neither ours ({', '.join(NAMES)}) nor one that evaluate publishes. A metric is "
            f"code: name the module in plugins= too, such as plugins={own.replace('/', '_')}.py; nothing was imported."
        )
    import evaluate

    try:
        return evaluate.load(named, keep_in_memory=True)
    except ImportError as error:  # the metric's script lacks a dependency
        raise ConfigError(f"{said}: {' '.join(str(error).split())}") from error
    except Exception as error:  # the hub and the network raise many kinds of errors
        raise ConfigError(
            f"{said}: is not one of ours ({', '.join(NAMES)}), and could not be fetched from the hub "
            f"({type(error).__name__}); it needs the network once.{closest(named, NAMES)}"
        ) from error


def _of_module(module: ModuleType, said: str) -> "evaluate.EvaluationModule":
    import evaluate

    kinds = [value for value in vars(module).values() if isinstance(value, type)]
    kinds = [kind for kind in kinds if issubclass(kind, evaluate.EvaluationModule)]
    found = [kind for kind in kinds if kind.__module__ == module.__name__]
    if len(found) != 1:
        raise ConfigError(
            f"{said}: has {len(found)} classes derived from evaluate.Metric; it needs one."
        )
    return found[0](keep_in_memory=True)


def _takes_several(metric: "evaluate.EvaluationModule", said: str) -> bool:
    """Return whether a metric takes a list of references for each text.

    Raises:
        ConfigError: it does not take texts.
    """
    features = metric.features if isinstance(metric.features, list) else [metric.features]
    texts = [each for each in features if getattr(each.get("predictions"), "dtype", "") == "string"]
    if not texts:
        raise ConfigError(f"{said}: scores {features[0]}; a text task needs a metric of texts.")
    return any(getattr(each["references"], "dtype", "") != "string" for each in texts)


def _number(value: Any) -> float | None:
    """Return a number, or the mean of several (BERTScore gives one for each text); None for other values."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        value = fmean(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
