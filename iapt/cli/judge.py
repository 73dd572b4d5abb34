"""`iapt-judge`: two runs' answers to MT-Bench, compared by a judge model (Appendix C.7, E)."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.configuration import guarded
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from iapt.metrics.judge_endpoint import EndpointSettings, Usage

HELP = """\
Usage: iapt-judge RUN_A RUN_B [key=value ...]

Ask a judge model to review and score two runs' saved answers to MT-Bench (the paper's Appendix E),
and write Table 3's two rows and Table 9's case. RUN_A and RUN_B are run folders. Every reply is kept
on disk: after a crash, or to add swap=true, give the command again and nothing is paid twice.

Keys:
  swap=false          ask in both orders and average, which cancels any favour to the first answer
  turns=first         first: judge the first turn, as the paper's prompt does; both: the whole dialogue
  data=...            the questions: sample, hub, or a folder with mt_bench/; default: the first
                      run's, unless that was a folder
  model=...           default: $IAPT_JUDGE_MODEL, else gpt-4
  base_url=...        any OpenAI-compatible endpoint; default: $OPENAI_BASE_URL, else OpenAI's
                      (the key is read from $OPENAI_API_KEY and never written anywhere)
  temperature=0       null leaves it to the endpoint; so does max_tokens=null (default 1024)
  max_tokens=1024
  retries=6           after 429, 5xx or a cut connection, waiting longer each time
  timeout=120         seconds for one request
  usd_per_million_input= usd_per_million_output=
                      prices, for the cost in the report (unknown without them)
  case=ID             Table 9's query; default: the paper's own, else the largest difference
  names=A,B           what to call the systems; default: the runs' methods
  rows=results/rows   the two runs' result rows there get the judge's score, so that
                      `make table3` finds it; rows=none leaves them alone
  out=results/judge   a folder RUN_A--vs--RUN_B is made there
  cache=...           folder of the replies; default: judge/ under $IAPT_CACHE or ~/.cache/iapt
"""

OPENAI = "https://api.openai.com/v1"
_GPT4 = re.compile(r"(?:^|/)gpt-4(?:-|$)", re.IGNORECASE)  # gpt-4, gpt-4-0613, openai/gpt-4-turbo
TURNS = ("first", "both")


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _number(text: str) -> float:
    if float(text) < 0 or float(text) == float("inf"):
        raise ValueError("a number from 0")
    return float(text)


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError("a whole number from 0")
    return int(text)


def _or_null(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() in ("null", "none") else read(text)


_SETTINGS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "swap": (_boolean, False),
    "turns": (str, "first"),
    "data": (str, None),
    "model": (str, None),
    "base_url": (str, None),
    "temperature": (_or_null(_number), 0.0),
    "max_tokens": (_or_null(_count), 1024),
    "retries": (_count, 6),
    "timeout": (_number, 120.0),
    "usd_per_million_input": (_or_null(_number), None),
    "usd_per_million_output": (_or_null(_number), None),
    "case": (str, ""),
    "names": (str, None),
    "rows": (_or_null(str), "results/rows"),
    "out": (str, "results/judge"),
    "cache": (str, None),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line, without the program's name.

    Returns:
        Exit status: 0; 2 for a wrong word; 1 if the judge or a file failed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or {"-h", "--help", "help"} & set(words):
        print(HELP, end="")
        return 0
    return guarded(lambda: _judge(*read_words(words)))


def read_words(words: Sequence[str]) -> tuple[Path, Path, dict[str, Any]]:
    """Split the command line into two run folders and settings.

    Raises:
        ConfigError: not two folders, or a key or value that is not allowed.
    """
    values = {key: default for key, (_, default) in _SETTINGS.items()}
    runs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or (key not in _SETTINGS and Path(word).is_dir()):
            runs.append(Path(word))
            continue
        if key not in _SETTINGS:
            raise ConfigError(
                f"unknown key {key!r} in {word!r}; allowed: {', '.join(_SETTINGS)}."
                f"{closest(key, _SETTINGS)}"
            )
        try:
            values[key] = _SETTINGS[key][0](value)
        except ValueError as error:
            raise ConfigError(f"{key}={value}: not allowed ({error}).") from error
    if len(runs) != 2:
        raise ConfigError(
            f"got {len(runs)} run folders ({', '.join(map(str, runs)) or 'none'}); give two: "
            "iapt-judge RUN_A RUN_B"
        )
    if values["turns"] not in TURNS:
        raise ConfigError(f"turns={values['turns']}: allowed are {' and '.join(TURNS)}.")
    return runs[0], runs[1], values


def _judge(run_a: Path, run_b: Path, settings: Mapping[str, Any]) -> None:
    from iapt.files import cache_root
    from iapt.metrics.judge import averages, judge_pairs
    from iapt.metrics.judge_answers import pair_answers, read_questions
    from iapt.metrics.judge_endpoint import Endpoint
    from iapt.metrics.judge_tables import (
        choose_case,
        gpt4_references,
        summary,
        table3_rows,
        table9,
    )

    names = _names(run_a, run_b, settings["names"])
    asked, key = endpoint_from(settings, os.environ)
    path = _questions_file(run_a, settings["data"])
    questions, gpt4 = read_questions(path, settings["turns"])
    if gpt4 is None:
        print(f"{path.parent} has no answers of GPT-4, so ROUGE-L is left out.", file=sys.stderr)
    pairs = pair_answers(run_a, run_b, questions, settings["turns"], gpt4)
    # Whatever can be wrong is found before a reply is paid for.
    references = None if gpt4 is None else gpt4_references(pairs, gpt4)
    ids = [pair.id for pair in pairs]
    if settings["case"] and settings["case"] not in ids:
        raise ConfigError(f"case={settings['case']}: allowed are {', '.join(ids)}.")

    from tqdm import tqdm

    judgements = []
    cache = Path(settings["cache"]).expanduser() if settings["cache"] else cache_root() / "judge"
    with (
        Endpoint(asked, key, cache) as endpoint,
        tqdm(total=len(pairs) * (1 + settings["swap"]), desc="judge", unit="reply") as bar,
    ):
        for judgement in judge_pairs(pairs, endpoint.ask, settings["swap"]):
            judgements.append(judgement)
            bar.update()

    scores = averages(judgements, settings["swap"])
    case = choose_case(pairs, judgements, settings["case"])
    shown = next(pair for pair in pairs if pair.id == case.id)
    rows = table3_rows(names, pairs, scores, references)
    for row, run in zip(rows, (run_a, run_b), strict=True):
        row["run_id"] = _label(run)
    result = {
        "schema": 1,
        "table": "table3",
        "rows": rows,
        "judge": {
            **{name: settings[name] for name in ("swap", "turns")},
            **{name: getattr(asked, name) for name in ("model", "base_url", "temperature")},
            "max_tokens": asked.max_tokens,
            "replies": len(judgements),
            "replies_unparsed": sum(not each.verdict.parsed for each in judgements),
            "replies_without_reviews": sum(
                None in (each.verdict.review1, each.verdict.review2) for each in judgements
            ),
        },
        "usage": {**asdict(endpoint.usage), "usd": _cost(endpoint.usage, settings)},
    }

    from iapt.files import write_text

    folder = Path(settings["out"]).expanduser() / f"{_label(run_a)}--vs--{_label(run_b)}"
    write_text(folder / "table3.json", _json(result))
    write_text(folder / "table9.md", table9(case, shown, names))
    lines = [json.dumps(asdict(each), ensure_ascii=False) for each in judgements]
    write_text(folder / "judgements.jsonl", "\n".join(lines) + "\n")
    print(summary(result))
    print(f"Written: {folder}/table3.json, table9.md, judgements.jsonl")
    if settings["rows"] is not None:
        _update_rows(Path(settings["rows"]).expanduser(), result)


def endpoint_from(
    settings: Mapping[str, Any], environment: Mapping[str, str]
) -> "tuple[EndpointSettings, str]":
    """Return the endpoint and its key, from the command line and then the environment.

    Raises:
        ConfigError: there is no key for OpenAI's own endpoint.
    """
    from iapt.metrics.judge_endpoint import EndpointSettings

    base_url = settings["base_url"] or environment.get("OPENAI_BASE_URL") or OPENAI
    key = environment.get("OPENAI_API_KEY", "")
    if not key and base_url.rstrip("/") == OPENAI:
        raise ConfigError(
            "OPENAI_API_KEY is not set; set it, or give base_url= of an endpoint that needs no key."
        )
    endpoint = EndpointSettings(
        model=settings["model"] or environment.get("IAPT_JUDGE_MODEL") or "gpt-4",
        base_url=base_url,
        temperature=settings["temperature"],
        max_tokens=settings["max_tokens"],
        retries=settings["retries"],
        timeout_seconds=settings["timeout"],
    )
    return endpoint, key or "none"


def _questions_file(run: Path, data: str | None) -> Path:
    from iapt.data.hub import Hub
    from iapt.data.source import Folder, Sample

    source: Folder
    if data is not None:
        source = Sample() if data == "sample" else Hub() if data == "hub" else Folder(data)
        return source.file("mt_bench", "test")
    config = run / "config.json"
    try:
        described = dict(json.loads(config.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{config} does not say what data the run had ({error!r}); give data=sample, data=hub or "
            "data=<folder>."
        ) from error
    target = described.get("_target_")
    if target == "iapt.data.source.Sample":
        source = Sample()
    elif target == "iapt.data.hub.Hub":
        source = Hub(described.get("root"))
    else:  # of a folder, a run keeps the name and the fingerprint, not where it lay
        raise ConfigError(
            f"{run} had data={described.get('name', target)}, and does not say where that lies; "
            "give data=<folder> once more."
        )
    return source.file("mt_bench", "test")


def _label(run: Path) -> str:
    return run.resolve().name


def _names(run_a: Path, run_b: Path, given: str | None) -> tuple[str, str]:
    if given is not None:
        names = tuple(name.strip() for name in given.split(","))
        if len(names) != 2 or not all(names):
            raise ConfigError(f"names={given}: give two, such as names=AdaLoRA,IAPT.")
        return names[0], names[1]
    # A run folder is named task--backbone--method--hparams--...; the method is enough if they differ.
    parts = [_label(run).split("--") for run in (run_a, run_b)]
    methods = [part[2] if len(part) >= 5 else "" for part in parts]
    if all(methods) and methods[0] != methods[1]:
        return methods[0], methods[1]
    return _label(run_a), _label(run_b)


def _cost(usage: "Usage", settings: Mapping[str, Any]) -> float | None:
    """Return what the replies of this call cost in USD, or None where a price is not known."""
    prices = settings["usd_per_million_input"], settings["usd_per_million_output"]
    if None in prices:
        return None
    return (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1e6


def _update_rows(folder: Path, result: Mapping[str, Any]) -> None:
    """Add the scores to the two runs' result rows, under `scores.details` and `judge`."""
    from iapt.results.row import read_row, write_row

    # Table 3's column is GPT-4's score; another judge's (gpt-4o is one) must not be taken for it.
    metric = "gpt-4" if _GPT4.search(result["judge"]["model"]) else "judge"
    if result["judge"]["turns"] == "both":
        metric += "-both-turns"
    for scored in result["rows"]:
        name = f"{scored['run_id']}.json"
        path = next(iter(sorted(folder.rglob(name))), None) if folder.is_dir() else None
        if path is None or scored["avg_score"] is None:
            print(f"{folder} has no {name}, or there is no score: no result row was changed.")
            continue
        row = read_row(path)
        details = {**row.scores.details, metric: scored["avg_score"]}
        judge = {**result["judge"], "n": scored["n"], "n_unparsed": scored["n_unparsed"]}
        scores = row.scores.model_copy(update={"details": details})
        write_row(path.parent, row.model_copy(update={"scores": scores, "judge": judge}))
        print(f"{path}: scores.details has {metric} now")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
