"""BoolQ: a title, two or three short sentences, and a question that one of them settles.

Each topic has several ways to say yes and to say no; the others in a passage are about something
the question does not ask. 55 % of the answers are yes.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import BUILDINGS, MONTHS, PLACES, SEASONS, person, year

# question, ways to say yes, ways to say no
BUILDING_TOPICS = (
    (
        "is {s} open to visitors",
        ("It is open to visitors from {month} to October.", "Visitors are welcome on most days."),
        ("It is no longer open to visitors.", "It has been closed and visitors are not let in."),
    ),
    (
        "is {s} still in use",
        ("It is still in use today.", "It was repaired in {later} and remains in use."),
        ("It is no longer in use.", "It was abandoned in {later} and is not in use any more."),
    ),
    (
        "is {s} owned by the town",
        ("The town bought it in {later} and still owns it.", "It is the property of the town."),
        ("It is not owned by the town but by a bank.", "The town never owned it."),
    ),
    (
        "is entry to {s} free",
        ("Entry is free for everyone.", "Entry has been free since {later}."),
        ("Entry is not free; a ticket costs {n} crowns.", "Entry is no longer free."),
    ),
    (
        "can you reach {s} by train",
        ("A train stops next to it every hour.", "It is easy to reach by train from {place}."),
        ("No train goes there, only a bus.", "It cannot be reached by train since {later}."),
    ),
    (
        "is {s} a protected monument",
        (
            "It has been a protected monument since {later}.",
            "It is listed as a protected monument.",
        ),
        ("It was never made a protected monument.", "It is not protected in any way."),
    ),
    (
        "does {s} have a cafe",
        ("It has a small cafe on the ground floor.", "A cafe lies behind the entrance."),
        ("It does not have a cafe.", "There is no cafe, as the last one shut in {later}."),
    ),
    (
        "was {s} rebuilt after the fire",
        ("After the fire of {later} it was rebuilt.", "It burnt down and was rebuilt by {later}."),
        ("After the fire of {later} it was never rebuilt.", "It burnt down and was not rebuilt."),
    ),
)
CREATURES = (
    *("moth", "heron", "newt", "lily", "hare", "beetle"),
    *("trout", "orchid", "finch", "bat", "lizard"),
)
COLOURS = (
    *("grey", "spotted", "golden", "lesser", "crested"),
    *("blue", "northern", "striped", "pale", "dwarf"),
)
CREATURE_TOPICS = (
    (
        "is {s} an endangered species",
        ("It is an endangered species.", "It has been endangered since {later}."),
        ("It is not endangered and lives in many places.", "It was never an endangered species."),
    ),
    (
        "can you find {s} near the coast",
        ("It is often found near the coast.", "You can find it along the coast and in {place}."),
        ("It is not found near the coast.", "It never lives near the coast, only in the hills."),
    ),
    (
        "is {s} active at night",
        ("It is active at night and rests by day.", "Its active time is the night."),
        ("It is not active at night.", "At night it rests, and it is never active after dusk."),
    ),
    (
        "is it legal to collect {s}",
        ("It is legal to collect it in small numbers.", "Since {later} collecting it is legal."),
        ("It is not legal to collect it.", "The law of {later} says that no one may collect it."),
    ),
)
# one of the first line stands in front of the sentence that answers, one of the second may follow
BUILDING_FILLERS = (
    ("It was built in {year} for {person}.", "{person} designed it in {year}."),
    ("It lies {n} kilometres from {place}.", "It stands above the river at {place}."),
)
CREATURE_FILLERS = (
    (
        "{person} first described it in {year}.",
        "It is named after {place}, where it was first seen.",
    ),
    ("It measures about {n} centimetres.", "It is most common in {season}."),
)


def rows(draw: Draw, n: int, subjects: list[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Return n rows, each about its own subject.

    Args:
        draw: source of choices.
        n: number of rows.
        subjects: names with True for a building and False for a creature; n are taken off the end.
    """
    made = []
    for answer in draw.mixed(n, 0.55):
        name, is_building = subjects.pop()
        question, yes, no = draw.pick(BUILDING_TOPICS if is_building else CREATURE_TOPICS)
        first, last = BUILDING_FILLERS if is_building else CREATURE_FILLERS
        told = [draw.pick(first), draw.pick(yes if answer else no)]
        if draw.chance(0.5):
            told.append(draw.pick(last))
        built = year(draw)
        values = {
            "s": f"the {name}",
            "person": person(draw),
            "place": draw.pick(PLACES),
            "month": draw.pick(MONTHS),
            "season": draw.pick(SEASONS),
            "year": built,
            "later": built + draw.between(3, 29),
            "n": draw.between(2, 40),
        }
        passage = f"{name} -- " + " ".join(told).format(**values)
        asked = question.format(**values).lower()
        made.append({"question": asked, "passage": passage, "label": int(answer)})
    return made


def subjects(draw: Draw, n: int) -> list[tuple[str, bool]]:
    """Return n different names: three buildings for each creature."""
    few = n // 4
    buildings = [f"{place} {kind}" for place in PLACES for kind in BUILDINGS]
    creatures = [
        f"{place} {hue} {kind}" for place in PLACES for hue in COLOURS for kind in CREATURES
    ]
    named = [(name, True) for name in draw.some(buildings, n - few)]
    return draw.shuffled(named + [(name, False) for name in draw.some(creatures, few)])


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 400 training and 200 validation rows, no subject in both."""
    draw = Draw("boolq")
    names = subjects(draw, 600)
    return {"train": rows(draw, 400, names), "validation": rows(draw, 200, names)}
