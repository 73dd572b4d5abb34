"""Two runs' saved answers to MT-Bench, put beside the questions and GPT-4's answers."""

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
    """One question with the answers of systems A and B, turn by turn (one turn, or two).

    Attributes:
        id: MT-Bench's number of the question.
        questions: what was asked.
        a: A's answers.
        b: B's answers.
        references: GPT-4's answers.
    """

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
    """Put two runs' answers beside each question.

    Args:
        run_a: a run folder.
        run_b: another one.
        task: MT-Bench with both turns.
        examples: its questions.
        turns: 1 for the first turn, 2 for both.

    Raises:
        DataError: a run has no answers, the two answered different questions or others than these,
            or there is no second turn where it is wanted.
    """
    a, b = (read_answers(run, task, examples, turns) for run in (run_a, run_b))
    if a.keys() != b.keys():
        only = sorted(a.keys() ^ b.keys())
        raise DataError(
            f"{run_a} and {run_b} answered different questions: {len(only)} are in one of them only "
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
    """Return a run's answers by the example's id, as many turns as wanted.

    A line of `predictions.jsonl` is `{"id": ..., "output": ...}`: the id an example's (the second turn
    is an example of its own) or MT-Bench's number of the question, the output a text or a list of two.
    Lines about anything else are passed over.

    Raises:
        DataError: the file is missing or malformed, or holds no answer to these questions, or answers
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
        # A run saves the reference that it was scored against, which tells other questions apart.
        if saved and str(saved[0]).strip() != example.references[0]:
            raise DataError(
                f"{path}, line {number}: the reference saved with {name!r} is not GPT-4's answer to "
                f"question {question}; the run was on other questions. Give data= as the run had it."
            )
        if turns > len(texts):
            for second in task.follow_ups([example], texts[:1]):
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
        raise DataError(f"{where}: field 'output' is {output!r:.80}; not a text.")
    return texts
