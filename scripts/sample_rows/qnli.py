"""QNLI: a question and a sentence that answers it, or tells something else about the same thing.

Of the sentences that do not answer, most are of a kind that no question here is about.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.facts import building_names, world
from scripts.sample_rows.names import PLACES, SEASONS, sentence

ASKED = ("who", "when", "height", "material", "owner", "river")
IDLE = (
    "Most people who come to {place} know {s} from old postcards.",
    "Painters have been fond of {s} for a long time.",
    "In {season}, many people walk past {s} on Sundays.",
    "There are plans to put a picture of {s} on a stamp.",
    "Children from {place} often draw {s} at school.",
)


def rows(draw: Draw, n: int, names: list[str]) -> list[dict[str, Any]]:
    """Return n rows, half of each label; names are taken off the end of the list."""
    made: list[dict[str, Any]] = []
    for answers in draw.mixed(n, 0.5):
        name = names.pop()
        facts = [fact for fact in world(draw, name) if fact.kind in ASKED]
        asked, other = facts[:2]
        text = asked.sentence if answers else other.sentence
        if not answers and draw.chance(0.7):
            values = {"s": f"the {name}", "place": draw.pick(PLACES), "season": draw.pick(SEASONS)}
            text = draw.pick(IDLE).format(**values)
        made.append(
            {
                "question": asked.question,
                "sentence": sentence(text),
                "label": int(not answers),
                "idx": len(made),
            }
        )
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 440 training rows (a tenth becomes dev) and 100 validation rows."""
    draw = Draw("qnli")
    names = building_names(draw, 540)
    return {"train": rows(draw, 440, names), "validation": rows(draw, 100, names)}
