"""Two runs' saved answers to MT-Bench, put beside the questions and GPT-4's answers.

A run's `predictions.jsonl` has one line per answer: `{"id": ..., "output": ...}`. Lines that are about
other questions are passed over; a question that only one of the runs answered is an error, since
averages over different questions cannot be compared.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from iapt.errors import DataError
from iapt.metrics.judge import Pair, both_turns

# question id -> (the row's identity in predictions, such as "mt_bench/test/5"; the text judged)
Questions: TypeAlias = Mapping[str, tuple[str, str]]


def read_questions(path: Path, turns: str) -> tuple[Questions, dict[str, tuple[str, ...]] | None]:
    """Read MT-Bench's questions, and GPT-4's answers if `model_answer_gpt4.jsonl` lies beside them.

    Args:
        path: the file of the questions.
        turns: "first" or "both".

    Returns:
        The questions, and GPT-4's answers turn by turn under the question's id, or None without
        that file.

    Raises:
        DataError: a file is malformed.
    """
    wanted = len(_turns(turns))
    questions = {}
    for index, row in enumerate(_json_lines(path)):
        try:
            questions[str(row["question_id"])] = (
                f"{path.parent.name}/{path.stem}/{index}",
                _shown(row["turns"][:wanted]),
            )
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{path}, line {index + 1}: no question_id and turns.") from error
    answers_path = path.with_name("model_answer_gpt4.jsonl")
    if not answers_path.is_file():
        return questions, None
    answers = {}
    for index, row in enumerate(_json_lines(answers_path)):
        try:
            given = tuple(row["choices"][0]["turns"][:wanted])
            if len(given) < wanted:
                raise IndexError
            answers[str(row["question_id"])] = given
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{answers_path}, line {index + 1}: no answer in it.") from error
    return questions, answers


def pair_answers(
    run_a: Path,
    run_b: Path,
    questions: Questions,
    turns: str,
    gpt4: Mapping[str, Sequence[str]] | None = None,
) -> list[Pair]:
    """Put the two runs' answers beside each question.

    Args:
        run_a: a run folder.
        run_b: another one.
        questions: see `read_questions`.
        turns: "first" or "both".
        gpt4: GPT-4's answers by question id. Each run has saved the ones that it was scored
            against, so that runs on other questions are noticed.

    Raises:
        DataError: a run has no predictions, the two answered different questions or others than
            these, or there is no second turn where it is wanted.
    """
    answers_a, answers_b = (
        read_answers(run, questions, turns, gpt4 or {}) for run in (run_a, run_b)
    )
    if answers_a.keys() != answers_b.keys():
        only = sorted(answers_a.keys() ^ answers_b.keys())
        raise DataError(
            f"{run_a} and {run_b} answered different questions: {len(only)} are in one of them only "
            f"(first: {only[0]}). Compare runs with the same data and limit.test."
        )
    return [
        Pair(number, query, _shown(a), _shown(b), a, b)
        for number, (_, query) in questions.items()
        if number in answers_a
        for a, b in [(answers_a[number], answers_b[number])]
    ]


def read_answers(
    run: Path, questions: Questions, turns: str, gpt4: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return a run's answers, turn by turn, by question id.

    A prediction belongs to a question by its row (`mt_bench/test/5`, the second turn
    `mt_bench/test/5/2`) or by the question's id; its output is a text, or a list of two texts.

    Raises:
        DataError: the file is missing or malformed, or holds no answer to these questions, or
            answers to others.
    """
    path = run / "predictions.jsonl"
    if not path.is_file():
        raise DataError(f"{run} has no predictions.jsonl; give the folder of a finished run.")
    by_name = {identity: number for number, (identity, _) in questions.items()}
    by_name |= {number: number for number in questions}
    found: dict[str, dict[int, str]] = {}
    for index, line in enumerate(_json_lines(path)):
        name, output = str(line.get("id")), line.get("output")
        turns_here: list[Any] = output if isinstance(output, list) else [output]
        first_turn = 1
        if name not in by_name and name.endswith("/2"):
            name, first_turn = name.removesuffix("/2"), 2
        if name not in by_name:
            continue
        if not all(isinstance(text, str) for text in turns_here):
            raise DataError(f"{path}, line {index + 1}: field 'output' is {output!r}; not a text.")
        number = by_name[name]
        saved = line.get("references")
        if (
            first_turn == 1
            and saved
            and number in gpt4
            and str(saved[0]).strip() != gpt4[number][0].strip()
        ):
            raise DataError(
                f"{path}, line {index + 1}: the reference saved with {name!r} is not GPT-4's answer "
                f"to question {number}; the run was on other questions. Give data= as the run had it."
            )
        found.setdefault(number, {}).update(enumerate(turns_here, start=first_turn))
    if not found:
        raise DataError(
            f"{path} holds no answer to any of the {len(questions)} MT-Bench questions."
        )
    wanted = _turns(turns)
    for number, texts in found.items():
        if not set(wanted) <= texts.keys():
            raise DataError(
                f"{path}: question {number} has the turns {sorted(texts)}; turns={turns} needs "
                f"{list(wanted)}."
            )
    return {number: tuple(texts[turn] for turn in wanted) for number, texts in found.items()}


def _turns(turns: str) -> tuple[int, ...]:
    return (1, 2) if turns == "both" else (1,)


def _shown(texts: Sequence[str]) -> str:
    """Return what the judge reads: the one text, or both with their numbers."""
    return texts[0] if len(texts) == 1 else both_turns(texts)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a {type(row).__name__}, not an object.")
        rows.append(row)
    return rows
