"""`iapt-judge`: a judge model compares two runs' answers to MT-Bench (Appendices C.7 and E)."""

import glob
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.command import Command, Key, Words
from iapt.cli.readers import boolean, number, one_of, or_null, some_of, whole
from iapt.errors import ConfigError, DataError
from iapt.files import expanded

if TYPE_CHECKING:
    from iapt.data.source import Folder
    from iapt.judge.endpoint import Endpoint, Usage
    from iapt.results.row import Row

OPENAI = "https://api.openai.com/v1"
COMMAND = Command(
    name="iapt-judge",
    usage="RUN_A RUN_B [key=value ...]",
    purpose="Ask a judge model to review and score two runs' saved answers to MT-Bench (the paper's Appendix E), "
    "and write Table 3's two rows and Table 9's case. RUN_A and RUN_B are run folders.",
    at_least=2,
    at_most=2,
    keys=[
        Key("swap", "ask in both orders and average, which cancels position bias",
            False, boolean),
        Key("turns", "first: judge the first turn, as the paper's prompt does; both: the whole dialogue",
            "first", one_of("first", "both")),
        Key("data", "the questions: sample, hub, or a folder with mt_bench/; default: the first run's, unless "
            "that was a folder"),
        Key("model", "the judge; default: $IAPT_JUDGE_MODEL, else gpt-4"),
        Key("base_url", "any OpenAI-compatible endpoint; default: $OPENAI_BASE_URL, else OpenAI's. The key "
            "comes from $OPENAI_API_KEY; neither it nor a password in the address is written anywhere"),
        Key("temperature", "null leaves it to the endpoint", 0.0, or_null(number())),
        Key("max_tokens", "the longest reply; null leaves it to the endpoint", 1024, or_null(whole())),
        Key("retries", "repeats after 429, 5xx or a cut connection, waiting longer each time", 6, whole()),
        Key("timeout", "seconds for one request", 120.0, number(most=86400)),
        Key("usd_per_million_input", "price of prompt tokens, for the cost in the report", None, or_null(number())),
        Key("usd_per_million_output", "price of reply tokens", None, or_null(number())),
        Key("case", "Table 9's query; default: the paper's own, else the largest difference", "", shown="ID"),
        Key("names", "names for the systems; default: the runs' methods", None, some_of(), "A,B"),
        Key("rows", "the folder whose rows of the two runs get the judge's score, so that `make table3` finds it; "
            "none leaves the rows unchanged", Path("results/rows"), or_null(expanded)),
        Key("out", "the folder for RUN_A--vs--RUN_B/", Path("results/judge"), expanded),
        Key("cache", "the folder of replies; default: judge/ in $IAPT_CACHE or ~/.cache/iapt", None, expanded,
            "FOLDER"),
    ],
    notes="The cache keeps every reply: after a crash, or to add swap=true, repeat the command; no reply is paid for "
    "twice.",
)  # fmt: skip

_GPT4 = re.compile(r"(?:^|/)gpt-4(?:-|$)", re.IGNORECASE)  # gpt-4, gpt-4-0613, openai/gpt-4-turbo
_SOURCES = {"iapt.data.source.Sample": "sample", "iapt.data.hub.Hub": "hub"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMAND.main(_judge, arguments)


def _judge(words: Words) -> None:
    from iapt.configuration.catalog import entry
    from iapt.data.hub import Hub
    from iapt.entries import build_row_task
    from iapt.files import check_writable, write_json, write_lines, write_text
    from iapt.judge.answers import pair_answers, predictions_of
    from iapt.judge.comparison import averages, choose_case, judge_pairs, table3_rows, table9
    from iapt.progress import progress
    from iapt.tasks.instruction import MTBench

    # Check everything before paying for a reply, and what is in the folders before the key.
    runs = [expanded(name) for name in words.names]
    for run in runs:
        predictions_of(run)
    names = _names(runs, words["names"])
    task = build_row_task(entry("task", "mt_bench"))
    assert isinstance(task, MTBench)
    source = _source(runs[0], words["data"])
    if isinstance(source, Hub):  # name a missing key before anything is fetched
        endpoint_from(words.values, os.environ)
    examples = task.examples("test", source)
    pairs = pair_answers(runs[0], runs[1], task, examples, 2 if words["turns"] == "both" else 1)
    ids = [pair.id for pair in pairs]
    if words["case"] and words["case"] not in ids:
        raise ConfigError(f"case={words['case']}: allowed are {', '.join(ids)}.")
    folder = words["out"] / "--vs--".join(map(_label, runs))
    for run in runs:
        _row_of(run, words["rows"])
    endpoint = endpoint_from(words.values, os.environ)
    for place in (folder, endpoint.cache_dir):
        check_writable(place)

    replies = judge_pairs(pairs, endpoint.ask, words["swap"])
    judgements = []
    with endpoint, progress("judge", "reply", len(pairs) * (1 + words["swap"])) as bar:
        for judgement in replies:
            judgements.append(judgement)
            bar.update()

    rows = table3_rows(names, pairs, averages(judgements, words["swap"]))
    for row, run in zip(rows, runs, strict=True):
        row["run_id"] = _label(run)
    asked = endpoint.settings
    result = {
        "schema": 1,
        "table": "table3",
        "rows": rows,
        "judge": {
            **{name: words[name] for name in ("swap", "turns")},
            **{name: getattr(asked, name) for name in ("model", "base_url", "temperature")},
            "max_tokens": asked.max_tokens,
            "replies": len(judgements),
            "replies_unparsed": sum(not each.verdict.parsed for each in judgements),
            "replies_without_reviews": sum(
                None in (each.verdict.review1, each.verdict.review2) for each in judgements
            ),
        },
        "usage": {**asdict(endpoint.usage), "usd": _cost(endpoint.usage, words)},
    }
    write_json(folder / "table3.json", result)
    write_text(folder / "table9.md", table9(*choose_case(pairs, judgements, words["case"]), names))
    write_lines(folder / "judgements.jsonl", map(asdict, judgements))
    _show(result)
    print(f"Written: {folder}/table3.json, table9.md, judgements.jsonl")
    if words["rows"] is not None:
        _update_rows(runs, words["rows"], result)


def endpoint_from(values: Mapping[str, Any], environment: Mapping[str, str]) -> "Endpoint":
    """Return the endpoint; the command line comes before the environment.

    Raises:
        ConfigError: OpenAI's own endpoint has no key, or the address is not a URL.
    """
    from iapt.files import cache_root
    from iapt.judge.endpoint import Endpoint, EndpointSettings, split_address

    base_url, login = split_address(
        values["base_url"] or environment.get("OPENAI_BASE_URL") or OPENAI
    )
    key = environment.get("OPENAI_API_KEY", "")
    if not key and base_url.rstrip("/") == OPENAI:
        raise ConfigError(
            "OPENAI_API_KEY is not set; set it, or give the base_url= of an endpoint that needs no key."
        )
    settings = EndpointSettings(
        model=values["model"] or environment.get("IAPT_JUDGE_MODEL") or "gpt-4",
        base_url=base_url,
        temperature=values["temperature"],
        max_tokens=values["max_tokens"],
        retries=values["retries"],
        timeout_seconds=values["timeout"],
    )
    cache = values["cache"] or cache_root() / "judge"
    return Endpoint(settings, key or "none", cache, login)


def _source(run: Path, data: str | None) -> "Folder":
    """Return the source of the questions: as given, or the first run's."""
    from iapt.data.hub import Hub
    from iapt.data.source import Folder, Sample

    root = None
    if data is None:
        described = _config(run).get("data")
        described = described if isinstance(described, dict) else {}
        # The target is compared with known names and never imported: the file is untrusted.
        data, root = _SOURCES.get(str(described.get("_target_"))), described.get("root")
        if data is None:  # a run records the name and fingerprint of a folder, not its path
            raise ConfigError(
                f"{run} used data={str(described.get('name', '(unknown)'))!r} and does not record its path; give "
                "data=sample, data=hub or data=<folder>."
            )
    if data == "hub":
        return Hub(root if isinstance(root, str) else None)
    return Sample() if data == "sample" else Folder(data)


def _config(run: Path) -> dict[str, Any]:
    """Return the configuration in a run's folder, or an empty one if it cannot be read."""
    from iapt.files import read_json

    try:
        config = read_json(run / "config.json")
    except DataError:
        return {}
    return config if isinstance(config, dict) else {}


def _names(runs: Sequence[Path], given: Sequence[str] | None) -> tuple[str, str]:
    """Return the systems' names: those given, else the methods if they differ, else the folders."""
    if given is not None:
        if len(given) != 2 or not all(name.strip() for name in given):
            raise ConfigError(f"names={','.join(given)}: give two, such as names=AdaLoRA,IAPT.")
        return given[0].strip(), given[1].strip()
    names = [_method(_config(run)) for run in runs]
    if not all(names) or names[0] == names[1]:
        names = [_label(run) for run in runs]
    return names[0], names[1]


def _method(config: Mapping[str, Any]) -> str:
    method, variant = config.get("method"), config.get("variant")
    name = method.get("name") if isinstance(method, dict) else None
    if not (isinstance(name, str) and name.isprintable() and len(name) < 100):
        return ""
    return (
        f"{name}, {variant}"
        if isinstance(variant, str) and variant.isprintable() and variant
        else name
    )


def _label(run: Path) -> str:
    return run.resolve().name


def _cost(usage: "Usage", words: Words) -> float | None:
    """Return the cost of this call's replies in USD, or None if a price is unknown."""
    prices = words["usd_per_million_input"], words["usd_per_million_output"]
    if None in prices:
        return None
    return float(usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1e6


def _show(result: Mapping[str, Any]) -> None:
    """Print scores, omitted queries, tokens and cost."""
    judge, usage, rows = result["judge"], result["usage"], result["rows"]
    for row in rows:
        score = "-" if row["avg_score"] is None else f"{row['avg_score']:.2f}"
        print(
            f"{row['name']}: score {score}, ROUGE-L {row['rouge_l']:.1f}, better on {row['wins']}"
        )
    cost = "cost unknown" if usage["usd"] is None else f"USD {usage['usd']:.4f}"
    print(
        f"{judge['model']} judged {rows[0]['n']} queries; {rows[0]['n_unparsed']} are left out, with "
        f"{judge['replies_unparsed']} replies that could not be parsed\n"
        f"{usage['requests']} new replies ({usage['prompt_tokens']} + {usage['completion_tokens']} "
        f"tokens, {cost}), {usage['cached']} from the cache"
    )


def _row_of(run: Path, folder: Path | None) -> "Row | None":
    """Return a run's result row, or None if a folder has none.

    Raises:
        DataError: the row is damaged.
    """
    from iapt.results.row_files import read_row

    if folder is None or not folder.is_dir():
        return None
    path = next(iter(sorted(folder.rglob(f"{glob.escape(_label(run))}.json"))), None)
    return None if path is None else read_row(path)


def _update_rows(runs: Sequence[Path], folder: Path, result: Mapping[str, Any]) -> None:
    """Add the scores to the two runs' result rows, under `scores.details` and `judge`."""
    from iapt.results.row_files import write_row

    # Table 3's column is GPT-4's score; another judge's, such as gpt-4o's, must not pass for it.
    metric = "gpt-4" if _GPT4.search(result["judge"]["model"]) else "judge"
    if result["judge"]["turns"] == "both":
        metric += "-both-turns"
    for scored, run in zip(result["rows"], runs, strict=True):
        row = _row_of(run, folder)
        if row is None or row.path is None or scored["avg_score"] is None:
            print(
                f"{folder} has no {scored['run_id']}.json, or there is no score: no result row changed."
            )
            continue
        details = {**row.scores.details, metric: scored["avg_score"]}
        judge = {**result["judge"], "n": scored["n"], "n_unparsed": scored["n_unparsed"]}
        scores = row.scores.model_copy(update={"details": details})
        write_row(row.path.parent, row.model_copy(update={"scores": scores, "judge": judge}))
        print(f"{row.path}: added {metric} to scores.details")


if __name__ == "__main__":
    sys.exit(main())
