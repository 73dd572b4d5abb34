"""Tickets: a small task that no paper has, for `configs/task/custom_example.yaml`."""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import FIRST_NAMES

TICKETS = {
    "billing": (
        "I was charged twice for order {n}.",
        "The invoice for order {n} shows the wrong price.",
        "Please refund the money for order {n}.",
    ),
    "delivery": (
        "My parcel {n} has not arrived yet.",
        "The driver left parcel {n} with the wrong neighbour.",
        "When will parcel {n} be delivered?",
    ),
    "account": (
        "I cannot log in to account {n}.",
        "Please change the password of account {n}.",
        "Account {n} shows my old e-mail address.",
    ),
}
GREETINGS = ("Hello, {who} here.", "Good morning.", "This is {who}.", "Hi there!")


def rows(draw: Draw, n: int, first: int) -> list[dict[str, Any]]:
    """Return n rows; numbers start at the first one, so that no text occurs twice."""
    made: list[dict[str, Any]] = []
    for i in range(n):
        department = draw.pick(tuple(TICKETS))
        words = f"{draw.pick(GREETINGS)} {draw.pick(TICKETS[department])}"
        text = words.format(who=draw.pick(FIRST_NAMES), n=first + i)
        made.append({"text": text, "department": department})
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 200 training rows (a tenth becomes dev) and 50 test rows."""
    draw = Draw("tickets")
    return {"train": rows(draw, 200, 1000), "test": rows(draw, 50, 5000)}
