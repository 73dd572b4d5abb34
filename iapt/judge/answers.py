"""Two runs' saved answers to MT-Bench, beside the questions and GPT-4's answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapt.errors import DataError
from iapt.files import read_lines
from iapt.tasks.base import Example
from iapt.tasks.instruction import MTBench

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Pair:
    """One question of MT-Bench with the answers of systems A, B and GPT-4 (`references`), per turn."""

    id: str
    questions: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]
    references: tuple[str, ...]


def predictions_of(run: Path) -> Path:
    """Return the file with a run's answers.

    Raises:
        DataError: the folder or the file is missing.
    """
    path = run / PREDICTIONS
    if not path.is_file():
        have = "has no " + PREDICTIONS if run.is_dir() else "is not a folder"
        raise DataError(f"{run} {have}; give the folder of a finished run, such as runs/<run id>.")
    return path


def pair_answers(
    run_a: Path, run_b: Path, task: MTBench, examples: Sequence[Example], turns: int
) -> list[Pair]:
    """Pair two runs' answers to each question.

    Args:
        run_a: a run folder.
        run_b: another run folder.
        task: MT-Bench with both turns.
        examples: its questions.
        turns: 1 for the first turn, 2 for both.

    Raises:
        DataError: a run has no answers, the runs answered different questions or not these, or a second
            turn is missing.
    """
    a, b = (read_answers(run, task, examples, turns) for run in (run_a, run_b))
    if a.keys() != b.keys():
        only = sorted(a.keys() ^ b.keys())
        raise DataError(
            f"{run_a} and {run_b} answered different questions: {len(only)} are in only one of them "
            f"(first: {only[0]}). Compare runs with the same data and limit.test."
        )
    return [
        Pair(
            str(example.meta["question_id"]),
            tuple(example.meta["questions"][:turns]),
            a[example.id],
            b[example.id],
            tuple(example.meta["answers"][:turns]),
        )
        for example in examples
        if example.id in a
    ]


def read_answers(
    run: Path, task: MTBench, examples: Sequence[Example], turns: int
) -> dict[str, tuple[str, ...]]:
    """Return a run's answers by example id, with `turns` turns each.

    A line of `predictions.jsonl` is `{"id": ..., "output": ...}`.  The id is an example's (the second
    turn is its own example) or MT-Bench's number of the question; the output is a text or a list of two.
    Other lines are skipped.

    Raises:
        DataError: the file is missing or malformed, has no answers to these questions, or has answers
            to others.
    """
    path = predictions_of(run)
    lines = {str(line.get("id")): (number, line) for number, line in read_lines(path)}
    found: dict[str, tuple[str, ...]] = {}
    for example in examples:
        question = str(example.meta["question_id"])
        name = example.id if example.id in lines else question
        if name not in lines:
            continue
        number, line = lines[name]
        texts = _texts(line, f"{path}, line {number}")
        saved = line.get("references")
        # A run saves its references, which reveal answers to other questions.
        first = saved[0] if isinstance(saved, list) and saved else saved
        if saved and str(first).strip() != example.references[0]:
            raise DataError(
                f"{path}, line {number}: the reference saved with {name!r} is not GPT-4's answer to "
                f"question {question}; the run used other questions. Give the run's own data=."
            )
        if turns > len(texts):
            for second in task.follow_ups([example], texts):
                if second.id in lines:
                    number, line = lines[second.id]
                    texts += _texts(line, f"{path}, line {number}")
        if turns > len(texts):
            raise DataError(f"{path}: question {question} has no second turn; use turns=first.")
        found[example.id] = tuple(texts[:turns])
    if not found:
        raise DataError(f"{path} holds no answer to any of the {len(examples)} MT-Bench questions.")
    return found


def _texts(line: Mapping[str, Any], where: str) -> list[str]:
    output = line.get("output")
    texts = [
        text for text in (output if isinstance(output, list) else [output]) if isinstance(text, str)
    ]
    if not texts or (isinstance(output, list) and len(texts) < len(output)):
        raise DataError(f"{where}: field 'output' is {output!r:.80}; it must be a text.")
    return texts
