"""E2E NLG: slots of an invented restaurant, and two sentences that say them.

Each meaning representation has one to three texts, as in the data set.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import PLACES, article, sentence

KINDS = ("restaurant", "pub", "coffee shop", "tea room", "bistro")
FOODS = ("Italian", "Indian", "French", "Greek", "Thai", "seafood", "vegetarian", "Spanish")
PRICES = ("cheap", "moderate", "high", "less than £20", "more than £30")
RATINGS = ("low", "average", "high", "1 out of 5", "3 out of 5", "5 out of 5")
AREAS = ("city centre", "riverside", "old town", "harbour")
BY = ("riverside", "harbour")
SIGNS = ("Anchor", "Kettle", "Lantern", "Fox", "Copper Pan", "Green Door", "Spoon", "Walnut")


def slots(draw: Draw, name: str) -> dict[str, str]:
    """Return name and kind, and two to four of the other slots in the data set's order."""
    others = {
        "food": draw.pick(FOODS),
        "priceRange": draw.pick(PRICES),
        "customer rating": draw.pick(RATINGS),
        "area": draw.pick(AREAS),
        "familyFriendly": draw.pick(("yes", "no")),
    }
    kept = draw.some(list(others), draw.between(2, 4))
    chosen = {key: value for key, value in others.items() if key in kept}
    return {"name": name, "eatType": draw.pick(KINDS), **chosen}


def text(draw: Draw, values: dict[str, str]) -> str:
    """Return a review that says every slot."""
    name, kind = values["name"], values["eatType"]
    food = f" {values['food']}" if "food" in values else ""
    area = values.get("area")
    where = f" {'by' if area in BY else 'in'} the {area}" if area else ""
    if draw.chance(0.5):
        first = f"{name} is {article((food + ' ' + kind).strip())}{where}."
    else:
        first = f"There is {article((food + ' ' + kind).strip())} called {name}{where}."
    rest = []
    if "priceRange" in values:
        rest.append(draw.pick(("its prices are {p}", "the price range is {p}")))
    if "customer rating" in values:
        rest.append(draw.pick(("customers rate it {r}", "it has a customer rating of {r}")))
    if "familyFriendly" in values:
        friendly = values["familyFriendly"] == "yes"
        rest.append("children are welcome" if friendly else "it is not family friendly")
    if not rest:
        return first
    joined = rest[0] if len(rest) == 1 else ", ".join(rest[:-1]) + " and " + rest[-1]
    second = joined.format(p=values.get("priceRange"), r=values.get("customer rating"))
    return f"{first} {sentence(second)}."


def rows(draw: Draw, n: int, names: list[str]) -> list[dict[str, Any]]:
    """Return n rows; names are taken off the end of the list."""
    made: list[dict[str, Any]] = []
    while len(made) < n:
        values = slots(draw, names.pop())
        asked = ", ".join(f"{key}[{value}]" for key, value in values.items())
        texts = dict.fromkeys(text(draw, values) for _ in range(draw.between(1, 3)))
        made += [{"meaning_representation": asked, "human_reference": said} for said in texts]
    return made[:n]


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 400 training, 60 validation and 60 test rows."""
    draw = Draw("e2e")
    names = draw.some([f"The {place} {sign}" for place in PLACES for sign in SIGNS], 520)
    sizes = {"train": 400, "validation": 60, "test": 60}
    return {split: rows(draw, n, names) for split, n in sizes.items()}
