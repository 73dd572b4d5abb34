"""Alpaca-cleaned and MT-Bench: instructions about words and numbers, with answers that follow.

The MT-Bench sample asks a second question on each first one, and comes with answers in the file and
form of the released GPT-4 answers. They were written by this code, not by GPT-4.
"""

from collections.abc import Callable
from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import FIRST_NAMES, MONTHS, OBJECTS, PLACES, person, sentence

WORDS = (
    *("apple", "river", "candle", "mountain", "window", "garden", "letter", "bridge", "pencil"),
    *("orange", "island", "forest", "kitchen", "teacher", "summer", "village", "yellow", "button"),
)
OPPOSITES = (
    *(("hot", "cold"), ("early", "late"), ("full", "empty"), ("high", "low"), ("old", "young")),
    *(("fast", "slow"), ("light", "dark"), ("strong", "weak"), ("wide", "narrow"), ("dry", "wet")),
)


def alphabetical(draw: Draw) -> tuple[str, str, str]:
    """Sort words."""
    words = draw.some(WORDS, draw.between(3, 5))
    return "Put these words in alphabetical order.", ", ".join(words), ", ".join(sorted(words))


def capitals(draw: Draw) -> tuple[str, str, str]:
    """Write in capital letters."""
    words = " ".join(draw.some(WORDS, draw.between(2, 4)))
    return "Write the following words in capital letters.", words, words.upper()


def opposite(draw: Draw) -> tuple[str, str, str]:
    """Give the opposite."""
    left, right = draw.pick(OPPOSITES)
    asked, answer = draw.pick(((left, right), (right, left)))
    name = draw.pick(FIRST_NAMES)
    question = f"{name} is looking for the opposite of the word {asked}. What is it?"
    return question, "", f"The opposite of {asked} is {answer}."


def longest(draw: Draw) -> tuple[str, str, str]:
    """Find the longest word."""
    words = draw.some(WORDS, 4)
    word = max(words, key=len)
    return "Which of these words is the longest?", ", ".join(words), f"The longest word is {word}."


def invitation(draw: Draw) -> tuple[str, str, str]:
    """Write an invitation."""
    who, place, month = person(draw), draw.pick(PLACES), draw.pick(MONTHS)
    asked = f"Write a one sentence invitation from {who} to a party in {place} in {month}."
    return asked, "", f"{who} warmly invites you to a party in {place} this {month}."


def summary(draw: Draw) -> tuple[str, str, str]:
    """Say what a short report says."""
    who, place = person(draw), draw.pick(PLACES)
    noun = draw.pick(OBJECTS)
    story = (
        f"After a long search in {place}, {who} found the lost {noun} behind a wall. The whole "
        "town was relieved."
    )
    return "Summarise the report in a few words.", story, f"{who} found the lost {noun} in {place}."


TASKS: tuple[Callable[[Draw], tuple[str, str, str]], ...] = (
    *(alphabetical, capitals, opposite, longest, invitation, summary),
)
# what a second question asks of the first answer
SECONDS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Now write your answer in capital letters.", str.upper),
    ("Now give the same answer once more.", str),
    (
        "Now say only how many letters a to z your answer has, as a number.",
        lambda text: str(letters(text)),
    ),
)
CATEGORIES = ("writing", "roleplay", "extraction", "reasoning", "stem", "humanities")


def letters(text: str) -> int:
    """Return how many letters a text has."""
    return sum(character.isalpha() for character in text)


def alpaca() -> dict[str, list[dict[str, Any]]]:
    """Return 360 training rows (a tenth becomes dev)."""
    draw, made = Draw("alpaca"), dict[tuple[str, str], str]()
    while len(made) < 360:
        instruction, given, output = draw.pick(TASKS)(draw)
        made[instruction, given] = output
    return {
        "train": [
            {"instruction": instruction, "input": given, "output": output}
            for (instruction, given), output in made.items()
        ]
    }


def mt_bench() -> dict[str, list[dict[str, Any]]]:
    """Return 12 pairs of questions, and answers to them."""
    draw = Draw("mt_bench")
    questions, answers = [], []
    for i in range(12):
        instruction, given, output = TASKS[i % len(TASKS)](draw)
        second, apply = SECONDS[i % len(SECONDS)]
        first = f"{instruction}\n\n{given}" if given else instruction
        number = 81 + i
        questions.append(
            {
                "question_id": number,
                "category": CATEGORIES[i % len(CATEGORIES)],
                "turns": [first, second],
                "reference": [],
            }
        )
        answers.append(
            {
                "question_id": number,
                "answer_id": f"sample-{number}",
                "model_id": "generated",
                "choices": [{"index": 0, "turns": [sentence(output), apply(sentence(output))]}],
                "tstamp": 0.0,
            }
        )
    return {"test": questions, "model_answer_gpt4": answers}
