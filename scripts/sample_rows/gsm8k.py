"""GSM8K: word problems of two steps with small numbers, solved line by line."""

from collections.abc import Callable
from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import FIRST_NAMES

THINGS = ("apples", "stamps", "marbles", "books", "candles", "pencils", "shells", "buttons")
BOXES = ("boxes", "bags", "baskets", "crates", "jars")


def step(left: int, sign: str, right: int) -> str:
    """Return a calculation with the data set's calculator mark."""
    value = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return f"{left}{sign}{right}=<<{left}{sign}{right}={value}>>{value}"


def packed(draw: Draw, who: str, other: str) -> tuple[str, str, int]:
    """So many boxes of so many things, then some are given away."""
    n, each = draw.between(3, 9), draw.between(4, 12)
    away, thing, box = draw.between(2, n * each - 1), draw.pick(THINGS), draw.pick(BOXES)
    question = (
        f"{who} has {n} {box} with {each} {thing} in each. {who} gives {away} {thing} to {other}. "
        f"How many {thing} does {who} have left?"
    )
    total = n * each
    first = f"{who} has {step(n, '*', each)} {thing}."
    second = f"After giving some away, {who} has {step(total, '-', away)} {thing} left."
    return question, f"{first}\n{second}", total - away


def bought(draw: Draw, who: str, other: str) -> tuple[str, str, int]:
    """Two kinds of things at two prices."""
    thing, second_thing = draw.some(THINGS, 2)
    n, price, m, cost = (draw.between(2, 9) for _ in range(4))
    question = (
        f"{who} buys {n} {thing} for ${price} each and {m} {second_thing} for ${cost} each at the "
        f"shop of {other}. How many dollars does {who} pay in total?"
    )
    first = f"The {thing} cost ${step(n, '*', price)}."
    second = f"The {second_thing} cost ${step(m, '*', cost)}."
    third = f"Together that is ${step(n * price, '+', m * cost)}."
    return question, f"{first}\n{second}\n{third}", n * price + m * cost


def older(draw: Draw, who: str, other: str) -> tuple[str, str, int]:
    """Twice as many, then some more."""
    n, more, thing = draw.between(5, 40), draw.between(2, 20), draw.pick(THINGS)
    question = (
        f"{other} collected {n} {thing}. {who} collected twice as many and then found {more} more. "
        f"How many {thing} does {who} have?"
    )
    first = f"Twice as many as {other} is {step(2, '*', n)} {thing}."
    second = f"With those found later, {who} has {step(2 * n, '+', more)} {thing}."
    return question, f"{first}\n{second}", 2 * n + more


PROBLEMS: tuple[Callable[[Draw, str, str], tuple[str, str, int]], ...] = (packed, bought, older)


def rows(draw: Draw, n: int, taken: set[str]) -> list[dict[str, Any]]:
    """Return n rows whose questions are not taken; adds them to the taken ones."""
    made: list[dict[str, Any]] = []
    while len(made) < n:
        who, other = draw.some(FIRST_NAMES, 2)
        question, solution, number = draw.pick(PROBLEMS)(draw, who, other)
        if question not in taken:
            taken.add(question)
            made.append({"question": question, "answer": f"{solution}\n#### {number}"})
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 330 training rows (a tenth becomes dev) and 60 test rows."""
    draw, taken = Draw("gsm8k"), set[str]()
    return {"train": rows(draw, 330, taken), "test": rows(draw, 60, taken)}
