"""Made-up releases for the stand-in hub: data sets in their released fields, raw files, a tiny checkpoint."""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import yaml

from iapt.backbone.dims import Dims
from iapt.backbone.tiny import tiny_model, tiny_tokenizer
from iapt.configuration.catalog import CONFIG_DIR
from tests.hub_server import HubServer, git_id

Row = dict[str, Any]
HELD_OUT = 8  # rows that the hold_out rule moves from train to dev
ROWS = {"train": 32, "validation": 12, "test": 10}

FIELDS: dict[str, Callable[[int], Row]] = {
    "boolq": lambda i: {
        "question": f"is {i} even",
        "passage": f"Of {i} one knows whether it is even.",
        "idx": i,
        "label": i % 2,
    },
    "rte": lambda i: {"sentence1": f"{i} birds sing.", "sentence2": "Birds sing.", "label": i % 2},
    "copa": lambda i: {
        **{
            "premise": f"It rained {i} days.",
            "choice1": "The road was wet.",
            "choice2": "It burnt.",
        },
        **{"question": ("cause", "effect")[i % 2], "label": i % 2, "idx": i},
    },
    "record": lambda i: {
        **{"passage": f"Ann met Bob {i} times.", "query": "@placeholder met Bob."},
        **{"entities": ["Ann", "Bob"], "answers": ["Ann"]},
    },
    "sst2": lambda i: {"idx": i, "sentence": f"film {i} is fine ", "label": i % 2},
    "qnli": lambda i: {"question": f"Is {i}?", "sentence": f"{i} is a number.", "label": i % 2},
    "squad": lambda i: {
        **{"id": str(i), "title": "T", "context": f"The tower has {i} steps."},
        **{"question": "How many?", "answers": {"text": [str(i)], "answer_start": [14]}},
    },
    "gsm8k": lambda i: {"question": f"{i} and 1?", "answer": f"{i}+1={i + 1}\n#### {i + 1}"},
    "alpaca": lambda i: {"instruction": f"Say {i}.", "input": "", "output": f"{i}, said."},
}


def entry(group: str, name: str) -> dict[str, Any]:
    """An entry of configs/ as it is written: composing takes a second that many tests cannot spare."""
    values: dict[str, Any] = yaml.safe_load(
        (CONFIG_DIR / group / f"{name}.yaml").read_text("utf-8")
    )
    return values


def publish(hub: HubServer, task: str) -> list[str]:
    """Put a task's pinned releases on a hub; return the overrides that go with their small sizes."""
    settings = entry("task", task)
    sizes = {split: ROWS[split] for split in settings["sizes"]}
    overrides = [f"task.sizes.{split}={n}" for split, n in sizes.items()]
    if settings["split"]["rule"] == "hold_out":
        overrides.append(f"task.split.rows={HELD_OUT}")
    if task in FIELDS:
        release = settings["release"]
        hub.add("datasets", release["id"], release["revision"], hub_files(task, release["config"]))
    else:
        overrides += as_overrides("task", publish_raw(hub, task))
    if task == "alpaca":
        overrides += as_overrides("task.test", publish_raw(hub, "mt_bench"))
        overrides.append(f"task.test.sizes.test={ROWS['test']}")
    return overrides


@cache
def hub_files(task: str, config: str) -> dict[str, bytes]:
    """The repository of one of the hub data sets."""
    rows = {s: [FIELDS[task](i) for i in range(ROWS[s])] for s in entry("task", task)["sizes"]}
    return as_json(rows) if config == "default" else as_parquet(config, rows)


def as_parquet(config: str, rows: Mapping[str, list[Row]]) -> dict[str, bytes]:
    """Files and README of a configuration among others, as the hub's data sets have them."""
    files = {
        f"{config}/{split}-00000-of-00001.parquet": parquet(table) for split, table in rows.items()
    }
    files["other/train-00000-of-00001.parquet"] = b"nobody asked for this"
    card = ["---", "configs:"]
    for name, splits in ((config, list(rows)), ("other", ["train"])):
        card += [f"- config_name: {name}", "  data_files:"]
        for split in splits:
            card += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    files["README.md"] = "\n".join([*card, "---", "# Made up", ""]).encode()
    return files


def as_json(rows: Mapping[str, list[Row]]) -> dict[str, bytes]:
    """One JSON file and a README without a word on it, as alpaca-cleaned has them."""
    return {
        "alpaca_data_cleaned.json": json.dumps(rows["train"]).encode(),
        "README.md": b"# Made up\n",
    }


def parquet(rows: list[Row]) -> bytes:
    file = io.BytesIO()
    table = datasets.Dataset.from_list(rows)
    if "label" in table.column_names:
        table = table.cast_column("label", datasets.ClassLabel(names=["zero", "one"]))
    table.to_parquet(file)
    return file.getvalue()


def publish_raw(hub: HubServer, task: str) -> dict[str, Any]:
    """Serve the raw files of E2E, WikiSQL or MT-Bench; return the release that pins them."""
    files = raw_files(task)
    hub.raw.update(files)
    return {
        "kind": entry("task", task)["release"]["kind"],
        "base": f"{hub.url}/raw",
        "files": {name: {"name": name, "blob": git_id(content)} for name, content in files.items()},
    }


@cache
def raw_files(task: str) -> dict[str, bytes]:
    if task == "e2e":
        row = '"name[Ann\'s], area[riverside]","Ann\'s is by the river."\n'
        return {split: ("mr,ref\n" + row * n).encode() for split, n in ROWS.items()}
    if task == "wikisql":
        return {"archive": wikisql_archive()}
    numbers = range(ROWS["test"])
    questions = [{"question_id": i, "turns": [f"Write {i}.", "Shorter."]} for i in numbers]
    answers = [{"question_id": i, "choices": [{"turns": [f"{i}!", "!"]}]} for i in numbers]
    return {"test": lines(questions), "model_answer_gpt4": lines(answers)}


def as_overrides(key: str, release: Mapping[str, Any]) -> list[str]:
    """A raw release in Hydra's words."""
    files = release["files"].items()
    return [
        f"{key}.release.base={release['base']}",
        *(f"{key}.release.files.{n}={{name:{f['name']},blob:'{f['blob']}'}}" for n, f in files),
    ]


def wikisql_archive() -> bytes:
    table = {
        "id": "1",
        "header": ["Player", "Goals"],
        "types": ["text", "real"],
        "rows": [["Ann", 3]],
    }
    question = {
        "phase": 1,
        "question": "who?",
        "table_id": "1",
        "sql": {"sel": 0, "agg": 0, "conds": []},
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:bz2") as archive:
        for stem, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
            for name, rows in ((f"{stem}.tables", [table]), (stem, [question] * ROWS[split])):
                member = tarfile.TarInfo(f"data/{name}.jsonl")
                member.size = len(lines(rows))
                archive.addfile(member, io.BytesIO(lines(rows)))
    return file.getvalue()


def lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


DIMS = Dims(
    family="llama",
    num_layers=4,
    hidden_size=32,
    ffn_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    vocab_size=259,
    max_positions=1024,
)


@cache
def checkpoint() -> dict[str, bytes]:
    """The files of a tiny random LLaMA in two shards, with weights of a kind that nothing here reads beside them."""
    with tempfile.TemporaryDirectory() as folder:
        tiny_model(DIMS).save_pretrained(folder, max_shard_size="100KB")
        tiny_tokenizer().save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {**files, "pytorch_model.bin": b"a pickle", "onnx/config.json": b"{}"}


def publish_checkpoint(hub: HubServer) -> list[str]:
    """Put a tiny checkpoint in the place of the paper's; return the overrides that give its sizes."""
    backbone = entry("backbone", "llama2_7b")
    hub.add("models", backbone["checkpoint"], backbone["revision"], checkpoint())
    sizes = {k: getattr(DIMS, k) for k in DIMS.__dataclass_fields__ if k != "family"}
    return [f"backbone.dims.{key}={value}" for key, value in sizes.items()]
