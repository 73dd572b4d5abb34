"""Small worlds of facts: what SQuAD, QNLI and ReCoRD rows tell and ask about.

A fact has a sentence, a question that it answers, and the answer, which is a piece of the sentence.
"""

from dataclasses import dataclass

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import BUILDINGS, MONTHS, PLACES, person, year

MATERIALS = ("granite", "red brick", "oak", "white marble", "iron", "sandstone", "concrete")
RIVERS = ("Arle", "Bryde", "Corve", "Dessa", "Eln", "Farrow", "Glim", "Hesk", "Isk", "Lune")
ANIMALS = ("swallows", "owls", "bats", "bees", "foxes", "storks", "cats", "pigeons")
FESTIVALS = (
    "kite festival",
    "boat race",
    "book fair",
    "lantern walk",
    "cheese market",
    "chess cup",
)


@dataclass(frozen=True)
class Fact:
    """One sentence with the question that it answers.

    Attributes:
        kind: which question it is.
        sentence: the sentence; contains the answer once.
        question: the question, with a question mark.
        answer: a piece of the sentence.
    """

    kind: str
    sentence: str
    question: str
    answer: str


def world(draw: Draw, subject: str) -> list[Fact]:
    """Return one fact of each kind about a building, in random order.

    Args:
        draw: source of choices.
        subject: its name, such as "Velmere lighthouse".
    """
    s = f"the {subject}"
    who, when = person(draw), year(draw)
    opened = when + draw.between(1, 9)
    height, cost = draw.between(11, 96), draw.between(2, 90)
    material, river, place = draw.pick(MATERIALS), draw.pick(RIVERS), draw.pick(PLACES)
    animals, festival, month = draw.pick(ANIMALS), draw.pick(FESTIVALS), draw.pick(MONTHS)
    owner = person(draw)
    facts = [
        ("who", f"{who} designed {s} in the spring of {when}.", f"Who designed {s}?", who),
        (
            "when",
            f"It was opened to the public in {opened} by the mayor.",
            f"In what year was {s} opened to the public?",
            str(opened),
        ),
        ("height", f"It is {height} metres high.", f"How many metres high is {s}?", str(height)),
        ("material", f"The walls are made of {material}.", f"What is {s} made of?", material),
        (
            "river",
            f"It stands beside the river {river}, not far from {place}.",
            f"What river does {s} stand beside?",
            river,
        ),
        (
            "cost",
            f"The last repair cost {cost} thousand crowns.",
            f"How many thousand crowns did the last repair of {s} cost?",
            str(cost),
        ),
        (
            "animals",
            f"A large colony of {animals} lives under the roof.",
            f"What animals live under the roof of {s}?",
            animals,
        ),
        (
            "festival",
            f"A {festival} takes place there every {month}.",
            f"What takes place at {s} every {month}?",
            festival,
        ),
        ("owner", f"It now belongs to {owner}.", f"Who owns {s} now?", owner),
    ]
    return draw.shuffled([Fact(*fact) for fact in facts])


def building_names(draw: Draw, n: int) -> list[str]:
    """Return n different names of buildings."""
    return draw.some([f"{place} {kind}" for place in PLACES for kind in BUILDINGS], n)
