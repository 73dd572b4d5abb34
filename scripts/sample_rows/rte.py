"""RTE: a news sentence and a shorter one that follows from it, or does not.

Three ways not to follow, as in the data set: the first sentence only claims, plans or denies it
(most common here); it says so of somebody else; or the second sentence adds what the first does
not say.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import BUILDINGS, MONTHS, PLACES, person, year

# what somebody did, in the past and in the infinitive
DEEDS = (
    ("bought the {place} {building}", "buy the {place} {building}"),
    ("sold the {place} {building}", "sell the {place} {building}"),
    ("won the {place} Prize", "win the {place} Prize"),
    ("left the {place} council", "leave the {place} council"),
    ("moved to {place}", "move to {place}"),
    ("founded a school in {place}", "found a school in {place}"),
    ("painted the {place} {building}", "paint the {place} {building}"),
    ("wrote a book about {place}", "write a book about {place}"),
    ("repaired the {place} {building}", "repair the {place} {building}"),
    ("closed the factory in {place}", "close the factory in {place}"),
)
FACTS = (
    "In {month}, {who} {did}, which surprised {other} and many others in the town.",
    "{who}, who {did} in {year}, spoke to reporters in {elsewhere} on Monday.",
    "Officials confirmed that {who} {did} in {year}, shortly before the storm.",
    "{who} {did} after a long talk with {other}, the papers reported in {month}.",
)
NON_FACTS = (
    "In {month}, {who} denied having any plan to {do}, and {other} agreed.",
    "{who}, who had hoped to {do} in {year}, failed and gave up.",
    "Officials denied on Monday that {who} would {do}, whatever {other} said.",
    "{who} refused to {do} after a long talk with {other}, the papers reported in {month}.",
)


def rows(draw: Draw, n: int) -> list[dict[str, Any]]:
    """Return n rows, half of each label."""
    made: list[dict[str, Any]] = []
    for follows in draw.mixed(n, 0.5):
        past, infinitive = draw.pick(DEEDS)
        place, elsewhere = draw.some(PLACES, 2)
        who, other = person(draw), person(draw)
        where = {"place": place, "building": draw.pick(BUILDINGS)}
        did, do = past.format(**where), infinitive.format(**where)
        values = {"who": who, "other": other, "did": did, "do": do, "year": year(draw)}
        values |= {"month": draw.pick(MONTHS), "elsewhere": elsewhere}
        kind = "follows" if follows else draw.pick(("denied",) * 6 + ("other", "added"))
        hypothesis = {
            "follows": f"{who} {did}.",
            "denied": f"{who} {did}.",
            "other": f"{other} {did}.",
            "added": f"{who} {did} without asking the mayor of {elsewhere}.",
        }[kind]
        form = draw.pick(
            NON_FACTS if kind == "denied" else FACTS[::3] if kind == "other" else FACTS
        )
        premise = form.format(**values)
        made.append(
            {
                "sentence1": premise,
                "sentence2": hypothesis,
                "label": int(not follows),
                "idx": len(made),
            }
        )
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 400 training and 200 validation rows."""
    draw = Draw("rte")
    return {"train": rows(draw, 400), "validation": rows(draw, 200)}
