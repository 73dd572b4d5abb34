"""A trained adapter, ready to use: `load_run(folder)` and the object that it returns.

model = load_run("runs/boolq--smollm2_135m--iapt--quick--sample--seed0")
model.generate(["Reference document: ... Question: ..."])
with model.bare():                       # the frozen backbone alone
    model.generate([...])
model.score(split="dev")                 # or another task, other data
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from iapt.backbone.base import Backbone
from iapt.backbone.device import device_named
from iapt.backbone.load import Loaded, load_backbone, load_tokenizer
from iapt.backbone.save import save_checkpoint
from iapt.configuration.catalog import entry, names
from iapt.configuration.checking import faults, short
from iapt.configuration.plugins import Plugins
from iapt.data.encode import Encoded
from iapt.data.source import Folder, Sample, limited
from iapt.data.tokens import Tokens
from iapt.data.truncation import cut_line
from iapt.entries import build_source, build_task
from iapt.errors import AdapterError, ConfigError
from iapt.evaluation import Evaluation, encode_to_decode, evaluate
from iapt.inference.generate import decode
from iapt.methods.base import Method
from iapt.methods.merge import merge, unmerge
from iapt.methods.peft_format import save_peft
from iapt.methods.saved import Decoding
from iapt.results.inspection import Inspection
from iapt.tasks.base import Example, Scores, Source, Split, Task
from iapt.tasks.row_task import RowTask
from iapt.trained.adapters import Saved, find_run, read_saved
from iapt.trained.inspection import inspect

PLAIN = "{query}"


class TrainedModel:
    """A backbone with a trained method attached.

    Attributes:
        backbone: frozen, with the method attached.
        method: the method with its trained tensors.
        config: the adapter's configuration: method, backbone, decoding.
        run: the run's whole configuration; None for an adapter without a run.
    """

    def __init__(self, saved: Saved, loaded: Loaded, tokenizer: Any) -> None:
        self.backbone: Backbone = loaded.backbone
        self.method: Method = saved.method.to(loaded.backbone.device).eval()
        self.config, self.run = saved.config, saved.run
        self._tokens, self._plugins, self._merged = saved.tokens(tokenizer), saved.plugins, False
        self._checkpoint = saved.backbone.checkpoint
        self.method.attach(self.backbone)

    def __repr__(self) -> str:
        name = self.config.method.get("name", type(self.method).__name__)
        return (
            f"<TrainedModel: {name} on {self.config.backbone['name']}{', merged' * self._merged}>"
        )

    def generate(
        self,
        texts: Sequence[str],
        *,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        rendered: bool = False,
    ) -> list[str]:
        """Continue texts, each placed in the backbone's chat template.

        Args:
            texts: the user's messages; the task's template (`config.trained`) is not applied.
            num_beams: beam size; the run's by default.
            max_new_tokens: the longest answer; the run's by default.
            rendered: the texts already contain the chat template.

        Returns:
            One text each, in order.

        Raises:
            ConfigError: a number is out of range, or `texts` is no list of texts.
        """
        decoding = decoding_with(
            self.config.decoding, num_beams, max_new_tokens, self.backbone.dims.vocab_size
        )
        tokens = replace(self._tokens, template=PLAIN) if rendered else self._tokens
        return decode(
            self.backbone,
            [e.instruction for e in encode_texts(texts, tokens, decoding.max_new_tokens)],
            tokens.tokenizer,
            num_beams=decoding.num_beams,
            max_new_tokens=decoding.max_new_tokens,
            batch_tokens=decoding.batch_tokens,
        )

    @contextmanager
    def bare(self) -> Iterator["TrainedModel"]:
        """Run the frozen backbone alone, as before training, inside the block."""
        merged = self._merged
        if merged:
            self.unmerge()
        try:
            with self.backbone.disabled():
                yield self
        finally:
            if merged:
                self._merge()

    def score(
        self,
        task: str | None = None,
        data: str | Path | None = None,
        *,
        split: Split = "test",
        limit: int | None = None,
        num_beams: int | None = None,
    ) -> Scores:
        """Decode and score a split without training; see `evaluate`."""
        return self.evaluate(task, data, split=split, limit=limit, num_beams=num_beams).scores

    def evaluate(
        self,
        task: str | None = None,
        data: str | Path | None = None,
        *,
        split: Split = "test",
        limit: int | None = None,
        num_beams: int | None = None,
        predictions: Path | None = None,
    ) -> Evaluation:
        """Decode and score a split: outputs, answers and scores.

        Args:
            task: an entry of configs/task/ or the path of such a YAML file; the run's by default.
            data: "sample", "hub" or a folder of rows, which takes the place of a task's own; the run's by default.
            split: "train", "dev" or "test".
            limit: the most examples.  By default the run's limit for its own task and data, which
                reproduces its score, and all examples of other tasks and data.
            num_beams: beam size; by default the run's for its own task, and the task's for another.
            predictions: a file for outputs, answers and scores; it has the outputs even if scoring fails.

        Raises:
            ConfigError: there is no such task, an adapter without a run needs a task or data, or the task has a
                folder of its own, which only another folder replaces.
            DataError: the data lacks the split.
        """
        made, examples = to_score(self.run, self._plugins, task, data, split=split, limit=limit)
        own = self.config.decoding.num_beams if task is None else made.num_beams
        decoding = decoding_with(
            self.config.decoding,
            num_beams or own,
            made.max_new_tokens,
            self.backbone.dims.vocab_size,
        )
        encoded = encode_to_decode(made.template, examples, self._tokens, made.max_new_tokens)
        _warn_of_cuts(encoded, self._tokens, made.max_new_tokens, f"{split} prompts")
        evaluation = evaluate(
            made,
            examples,
            encoded,
            self.backbone,
            self._tokens,
            num_beams=decoding.num_beams,
            batch_tokens=decoding.batch_tokens,
            predictions=predictions,
        )
        _warn_of_cuts(evaluation.further, self._tokens, made.max_new_tokens, "follow-ups")
        return evaluation

    def inspect(self, texts: Sequence[str]) -> Inspection | None:
        """Show what the method learned: functions, and its attention over texts in the chat template.

        Returns:
            What there is to show; None if the method has nothing.
        """
        encoded = encode_texts(texts, self._tokens, self.config.decoding.max_new_tokens)
        prompts = [e.instruction for e in encoded]
        return inspect(self.method, self.backbone, self._tokens.tokenizer, prompts)

    def merge(self) -> None:
        """Fold the method into the backbone's weights; `unmerge` undoes it.

        Raises:
            AdapterError: the method's effect is not a change of weights, or this is inside `bare`.
        """
        if self.backbone.is_disabled:
            raise AdapterError(
                "merge: not inside `with model.bare()`, which runs the bare model; merge after it."
            )
        self._merge()

    def _merge(self) -> None:
        merge(self.method, self.backbone)
        self._merged = True

    def unmerge(self) -> None:
        """Restore the backbone's own weights, bit for bit, with the method attached."""
        if self._merged:
            unmerge(self.method, self.backbone)
            self._merged = False

    def save_merged(self, folder: str | Path) -> None:
        """Write the merged model as a Hugging Face folder: weights, configuration, tokenizer.

        Raises:
            AdapterError: the method's effect is not a change of weights.
            BackboneError: this kind of model has no place for what merging adds.
            StorageError: the folder is not empty, or cannot be written.
        """
        merged = self._merged
        self._merge()
        try:
            save_checkpoint(self.backbone.model, self._tokens.tokenizer, Path(folder))
        finally:
            if not merged:
                self.unmerge()

    def save_peft(self, folder: str | Path) -> None:
        """Write the adapter in the peft library's format.

        Raises:
            AdapterError: peft lacks this method, or computes something else on this backbone.
        """
        save_peft(Path(folder), self.method, self.backbone, self._checkpoint)


def load_run(
    folder: str | Path,
    *,
    device: str = "auto",
    plugins: Sequence[str] = (),
    checkpoint: str | None = None,
) -> TrainedModel:
    """Load what a run trained.

    Args:
        folder: the run's folder, the start of its name ("runs/boolq--tiny_llama--lora") or a pattern
            with `*` that only one run matches; or a saved adapter's folder.
        device: "auto", "cpu", "cuda" or "cuda:N".
        plugins: modules outside `iapt` whose classes the run may name, as names or paths of .py files; no
            others are imported.
        checkpoint: hub id or folder of the backbone, if it is no longer where the run found it.

    Raises:
        AdapterError: the folder has no adapter of ours, a damaged one, or one for another backbone.
        BackboneError: the backbone cannot be loaded.
    """
    return attached(read_saved(find_run(folder), Plugins.find(plugins)), device, checkpoint)


def attached(saved: Saved, device: str, checkpoint: str | None) -> TrainedModel:
    """Load the backbone of an adapter that was read; the rest as in `load_run`."""
    saved = saved.moved(checkpoint)
    loaded = load_backbone(saved.backbone, device_named(device))
    saved.check(loaded)
    return TrainedModel(saved, loaded, load_tokenizer(saved.backbone))


def to_score(
    run: Mapping[str, Any] | None,
    plugins: Plugins,
    task: str | None,
    data: str | Path | None,
    *,
    split: Split,
    limit: int | None,
) -> tuple[Task, list[Example]]:
    """Return a task with the examples to score, which need no backbone; see `TrainedModel.evaluate`."""
    run = run or {}
    made = build_task(_task(task, run), plugins)
    source: Source = Sample()
    if data is not None or task is None or not _has_folder(made, source):
        source = _source(data, run, plugins)
    if data is not None and _has_folder(made, source):
        raise ConfigError(
            f"data={data}: {made.name} has rows of its own (task.folder); omit data, or give a folder of other rows."
        )
    examples = made.examples(split, source)
    if limit is None and task is None and data is None:
        limit = run["limit"].get(split)
    return made, limited(examples, limit)


def decoding_with(
    default: Decoding, num_beams: int | None, max_new_tokens: int | None, vocab_size: int
) -> Decoding:
    """Return decoding settings with some numbers replaced.

    Raises:
        ConfigError: a number is out of range, or leaves no room for an instruction.
    """
    given = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
    try:
        decoding = Decoding.model_validate(
            default.model_dump() | {k: v for k, v in given.items() if v is not None}
        )
    except ValidationError as error:
        raise ConfigError("\n".join(faults(error, "", Decoding))) from error
    if decoding.num_beams > vocab_size:
        raise ConfigError(
            f"num_beams={decoding.num_beams}: must be at most {vocab_size}, the number of tokens that an "
            "answer can begin with."
        )
    if decoding.max_new_tokens >= decoding.max_length:
        raise ConfigError(
            f"max_new_tokens={decoding.max_new_tokens}: must be less than the {decoding.max_length} tokens of "
            "instruction and answer together."
        )
    return decoding


def encode_texts(texts: Sequence[str], tokens: Tokens, max_new_tokens: int) -> list[Encoded]:
    """Encode texts in the chat template; warns if it truncates any to fit.

    Raises:
        ConfigError: `texts` is no list of texts.
    """
    given = listed("texts", texts, "texts")
    examples = [Example(str(i), {"query": text}, "", ()) for i, text in enumerate(given)]
    encoded = encode_to_decode(PLAIN, examples, tokens, max_new_tokens)
    _warn_of_cuts(encoded, tokens, max_new_tokens, "texts")
    return encoded


def listed(field: str, values: object, what: str, kinds: tuple[type, ...] = (str,)) -> list[Any]:
    """Return the items of a list that a caller gave.

    Raises:
        ConfigError: it is one text instead of a list, or an item is of none of these kinds.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(
            f"{field}={short(values)}: must be a list of {what}, not one; write [...]."
        )
    items = list(values)
    for item in items:
        if not isinstance(item, kinds):
            raise ConfigError(f"{field}: must be a list of {what}, and {short(item)} is none.")
    return items


def _warn_of_cuts(
    encoded: Sequence[Encoded], tokens: Tokens, max_new_tokens: int, what: str
) -> None:
    line = cut_line(encoded, tokens.max_length - max_new_tokens, what)
    if line:
        warnings.warn(f"{line}.", stacklevel=4)


def _task(task: str | None, run: Mapping[str, Any]) -> Mapping[str, Any]:
    chosen = run.get("task") if task is None else entry("task", str(task))
    if not isinstance(chosen, dict):
        raise ConfigError("task: this adapter has no run; name a task, such as task=boolq.")
    return chosen


def _has_folder(task: Task, source: Source) -> bool:
    """Return whether a task reads a folder of its own instead of the source."""
    return isinstance(task, RowTask) and task.source(source) is not source


def _source(data: str | Path | None, run: Mapping[str, Any], plugins: Plugins) -> Source:
    if data is None:
        own = run.get("data")
        if not isinstance(own, dict) or "_target_" not in own:
            known = f" (the run was trained on {own['name']})" if isinstance(own, dict) else ""
            raise ConfigError(f"data: give a folder, sample or hub{known}.")
        return build_source(own, plugins)
    if str(data) != "folder" and str(data) in names("data"):
        return build_source(entry("data", str(data)))
    return Folder(data)
