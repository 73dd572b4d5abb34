"""SQuAD v1.1: three or four facts about a building, and a question that one of them answers."""

from hashlib import sha256
from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.facts import building_names, world
from scripts.sample_rows.names import sentence


def rows(draw: Draw, n: int, names: list[str]) -> list[dict[str, Any]]:
    """Return n rows; names are taken off the end of the list."""
    made: list[dict[str, Any]] = []
    for _ in range(n):
        name = names.pop()
        while True:
            told = world(draw, name)[: draw.between(3, 4)]
            asked = draw.pick(told)
            facts = " ".join(sentence(fact.sentence) for fact in told)
            context = f"This is about the {name}. {facts}"
            if context.count(asked.answer) == 1:  # not the 93 of 1936
                break
        made.append(
            {
                "id": sha256(f"{name} {asked.kind}".encode()).hexdigest()[:24],
                "title": sentence(name).replace(" ", "_"),
                "context": context,
                "question": asked.question,
                "answers": {"text": [asked.answer], "answer_start": [context.index(asked.answer)]},
            }
        )
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 330 training rows (a tenth becomes dev) and 80 validation rows."""
    draw = Draw("squad")
    names = building_names(draw, 410)
    return {"train": rows(draw, 330, names), "validation": rows(draw, 80, names)}
