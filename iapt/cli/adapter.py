"""`iapt-adapter`: use a trained adapter, and exchange adapters with the peft library."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.cli.command import OWN_ENTRIES, Command, Commands, Key, Words
from iapt.cli.overrides import entry_or_file, plugin_files
from iapt.cli.readers import boolean, one_of, whole
from iapt.errors import AdapterError, ConfigError
from iapt.files import expanded

if TYPE_CHECKING:
    from iapt.trained.adapters import Saved
    from iapt.trained.model import TrainedModel

DEVICE = Key("device", "cpu, cuda or cuda:N; auto uses a GPU if there is one", "auto")
CHECKPOINT = Key("checkpoint", "the backbone's folder or hub id, if it has moved", shown="PATH")
LOADING = (DEVICE, CHECKPOINT, *OWN_ENTRIES)
RUN = "RUN is a run's folder, the start of its name if only one run matches, or a saved adapter's folder."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMANDS.main(arguments)


def _read(words: Words) -> "Saved":
    """Read the adapter and check all of it, without its backbone."""
    from iapt.configuration.plugins import Plugins
    from iapt.trained.adapters import find_run, read_saved

    plugins = Plugins.find(plugin_files(words["plugins"], words.folders))
    return read_saved(find_run(words.names[0]), plugins)


def _attached(saved: "Saved", words: Words) -> "TrainedModel":
    """Load the backbone of an adapter."""
    from iapt.trained.model import attached

    return attached(saved, words["device"], words["checkpoint"])


def _show(words: Words) -> None:
    from iapt.methods.counts import sizes
    from iapt.methods.searched import serving_state
    from iapt.reporting.render import clean
    from iapt.tensors import dtype_name
    from iapt.trained.adapters import find_run

    saved = _read(words)
    config, method = saved.config, saved.method
    state = serving_state(method)
    numbers = {k: v for k, v in config.method.items() if k not in ("name", "_target_", "tuned")}
    lines = {
        "adapter": saved.folder,
        **{f"trained {key}": repr(value)[1:-1] for key, value in config.trained.items()},
        "method": f"{config.method.get('name')} ({config.method['_target_']})",
        "numbers": ", ".join(f"{k}={v}" for k, v in numbers.items()),
        "size": f"{sum(t.numel() for t in state.values()):,} parameters saved, "
        f"{sizes(method).trained:,} of them trained",
        "backbone": f"{saved.backbone.name}, {saved.backbone.quantization or saved.backbone.dtype}, "
        f"revision {config.revision}, fingerprint {config.backbone_fingerprint}",
        "template": repr(saved.backbone.template),
        "decoding": ", ".join(f"{k}={v}" for k, v in config.decoding.model_dump().items()),
        "score": _score_of(find_run(words.names[0])),
        **_abilities(saved),
    }
    for name, text in lines.items():
        print(f"{name:<16} {clean(text)}")  # a file may hold what a terminal obeys
    print("tensors")
    for name, tensor in state.items():
        kind = dtype_name(tensor.dtype)
        print(f"  {name}  {' x '.join(map(str, tensor.shape)) or '1'}  {kind}")


def _score_of(folder: Path) -> str:
    from pydantic import ValidationError

    from iapt.errors import DataError
    from iapt.files import read_json
    from iapt.results.row import TestScores

    file = folder / "scores.json"
    if not file.is_file():
        return "none saved with it"
    try:
        found = TestScores.model_validate(read_json(file), strict=False)  # JSON has no tuples
    except (DataError, ValidationError):
        return f"{file.name} is damaged"
    return f"{found.metric} {found.value:.1f} on {found.n} examples, {found.n_unparsed} unparsed"


def _abilities(saved: "Saved") -> dict[str, str]:
    from iapt.methods.merge import mergeable
    from iapt.methods.peft_format import exportable

    found = {"merge": "yes", "export to peft": "yes", "tenants": "yes"}
    try:
        mergeable(saved.method, saved.backbone.quantization is not None)
    except AdapterError as error:
        found["merge"] = f"no, {error}"
    try:
        able = exportable(saved.method, saved.backbone.dims)
        found["export to peft"] += f", as {able.peft_types[0]}"
    except AdapterError as error:
        found["export to peft"] = f"no, {error}"
    return found


def _generate(words: Words) -> None:
    from iapt.trained.model import decoding_with

    texts = list(words.names[1:])
    if words["file"] is not None:
        texts += _lines(words["file"])
    if not texts:
        texts = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise ConfigError("no text: write it after RUN, give file=FILE, or pipe lines in.")
    saved = _read(words)
    options = {k: words[k] for k in ("num_beams", "max_new_tokens", "rendered")}
    beams, most, vocab = words["num_beams"], words["max_new_tokens"], saved.backbone.dims.vocab_size
    decoding_with(saved.config.decoding, beams, most, vocab)
    model = _attached(saved, words)
    if words["bare"]:
        with model.bare():
            answers = model.generate(texts, **options)
    else:
        answers = model.generate(texts, **options)
    for answer in answers:
        print(answer)


def _lines(file: Path) -> list[str]:
    try:
        # Not splitlines(), which also ends a line at a form feed or U+2028.
        return [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"file={file}: cannot be read ({error}).") from error


def _evaluate(words: Words) -> None:
    from iapt.files import check_writable, write_json
    from iapt.trained.model import decoding_with, to_score

    rows = {k: words[k] for k in ("data", "split", "limit")}
    rows["task"] = words["task"] and entry_or_file("task", words["task"], words.folders)
    asked = {**rows, "num_beams": words["num_beams"]}
    # What is wrong with them, or with the folder for the answers, is said before a backbone is loaded.
    saved = _read(words)
    made, _ = to_score(saved.run, saved.plugins, **rows)
    beams, vocab = words["num_beams"], saved.backbone.dims.vocab_size
    decoding_with(saved.config.decoding, beams, made.max_new_tokens, vocab)
    folder = words["out"]
    if folder is not None:
        check_writable(folder)
    predictions = None if folder is None else folder / "predictions.jsonl"
    model = _attached(saved, words)
    if words["bare"]:
        with model.bare():
            found = model.evaluate(**asked, predictions=predictions)
    else:
        found = model.evaluate(**asked, predictions=predictions)
    scores = found.scores
    print(
        f"{scores.metric} {scores.value:.1f} on {scores.n} examples ({scores.n_unparsed} unparsed)"
    )
    for name, value in scores.details.items():
        print(f"  {name} {value:g}")
    if folder is not None:
        evaluated = {k: v for k, v in asked.items() if v is not None}
        evaluated |= {"bare": words["bare"], "trained": model.config.trained}
        write_json(folder / "scores.json", asdict(scores) | {"evaluated": evaluated})
        print(f"written: {folder}/ (predictions.jsonl, scores.json)")


def _inspect(words: Words) -> None:
    from itertools import islice

    from iapt.results.inspection import write_inspection
    from iapt.results.run_folder import predictions
    from iapt.trained.adapters import find_run

    folder = find_run(words.names[0])
    texts = list(words.names[1:])
    if not texts and (folder / "predictions.jsonl").is_file():
        texts = [p.instruction for p in islice(predictions(folder), PROMPTS) if p.instruction]
    found = _attached(_read(words), words).inspect(texts)
    if found is None:
        print("This method has no learned function and no attention to show.")
        return
    print(f"written: {write_inspection(folder, found)} (iapt-report runs=FOLDER shows it)")


def _merge(words: Words) -> None:
    from iapt.methods.merge import mergeable

    saved, out = _read(words), _new(words.names[1])
    mergeable(saved.method, saved.backbone.quantization is not None)
    _attached(saved, words).save_merged(out)
    print(f"written: {out}/ (transformers.AutoModelForCausalLM.from_pretrained loads it)")


def _export(words: Words) -> None:
    from iapt.methods.peft_format import exportable

    saved, out = _read(words), _new(words.names[1])
    exportable(saved.method, saved.backbone.dims)
    _attached(saved, words).save_peft(out)
    print(f"written: {out}/ (peft.PeftModel.from_pretrained loads it)")


def _new(name: str) -> Path:
    """Return a folder that holds nothing yet and can be written, before a backbone is loaded, which takes minutes."""
    from iapt.backbone.save import check_new
    from iapt.files import check_writable

    out = expanded(name)
    check_new(out)
    check_writable(out.parent)
    return out


def _import(words: Words) -> None:
    from iapt.backbone.device import device_named
    from iapt.configuration.catalog import entry
    from iapt.configuration.checking import named
    from iapt.trained.adapters import import_peft

    if words["backbone"] is None:
        raise ConfigError("backbone: missing; name the model it was trained on, backbone=NAME.")
    backbone = entry("backbone", entry_or_file("backbone", words["backbone"], words.folders))
    if words["checkpoint"] is not None:
        backbone |= {"kind": "hub", "checkpoint": words["checkpoint"], "revision": None}
    source, out = expanded(words.names[0]), _new(words.names[1])
    made = import_peft(source, out, backbone, device_named(words["device"]))
    print(f"written: {out}/ ({made.method['name']} on {backbone['name']})")
    base = made.trained["base_model"]
    print(
        f"  trained by peft{f' on {named(base)}' if base else ''}; "
        f"iapt-adapter evaluate {out} task=TASK data=sample"
    )


def _command(verb: str, usage: str, purpose: str, count: int | None, *keys: Key) -> Command:
    at_least = count or 1
    notes = RUN if usage.startswith("RUN") else ""
    return Command(f"iapt-adapter {verb}", usage, purpose, None, at_least, count, keys, notes)


PROMPTS = 20  # the first ones that are short enough are used
BARE = Key("bare", "use the frozen backbone alone, for comparison", False, boolean)
BEAMS = Key("num_beams", "beam size", None, whole(1), "the run's")

COMMANDS = Commands(
    "iapt-adapter",
    "Use what a run trained: inspect it, generate text, score other data, fold it into the weights, exchange it "
    "with the peft library.",
    {
        "show": (
            _command("show", "RUN", "Show what was trained, its score, its tensors, what it can do.", 1, *OWN_ENTRIES),
            _show,
        ),
        "generate": (
            _command(
                "generate",
                'RUN ["TEXT" ...] [key=value ...]',
                "Print an answer to each text, placed in the chat template.",
                None,
                Key("file", "texts, one per line; without texts and file, stdin", None, expanded, "FILE"),
                BEAMS,
                Key("max_new_tokens", "the longest answer", None, whole(1), "the run's"),
                Key("rendered", "the texts already contain the chat template", False, boolean),
                BARE,
                *LOADING,
            ),
            _generate,
        ),
        "evaluate": (
            _command(
                "evaluate",
                "RUN [key=value ...]",
                "Score a split, a task or a folder, without training; writes no row.",
                1,
                Key("task", "an entry of configs/task/ or a YAML file", None, str, "the run's"),
                Key("data", "sample, hub or a folder of rows, also in place of the task's own", None, str, "the run's"),
                Key("split", "train, dev or test", "test", one_of("train", "dev", "test")),
                Key("limit", "the most examples to score", None, whole(1), "the run's"),
                Key("out", "a folder for predictions.jsonl and scores.json", None, expanded, "FOLDER"),
                BEAMS,
                BARE,
                *LOADING,
            ),
            _evaluate,
        ),
        "inspect": (
            _command(
                "inspect",
                'RUN ["TEXT" ...]',
                "Write inspection.json to a run's folder, for the report: learned functions, and attention over the "
                "texts (by default its first test prompts).",
                None,
                *LOADING,
            ),
            _inspect,
        ),
        "merge": (
            _command("merge", "RUN OUT", "Write a Hugging Face folder with the adapter folded in.", 2, *LOADING),
            _merge,
        ),
        "export": (
            _command("export", "RUN OUT", "Write a folder that the peft library can load.", 2, *LOADING),
            _export,
        ),
        "import": (
            _command(
                "import",
                "PEFT_FOLDER OUT backbone=NAME",
                "Convert an adapter that peft trained to a saved adapter in our format.",
                2,
                Key("backbone", "an entry of configs/backbone/, or a YAML file", shown="NAME"),
                CHECKPOINT,
                DEVICE,
                OWN_ENTRIES[0],
            ),
            _import,
        ),
    },
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
