"""ReCoRD: a short report with summary points, and a sentence about it with a name left out.

The name left out is one of two people, two places and a prize; the report says which.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import LAST_NAMES, MONTHS, PLACES, person

REPORTS = (
    (
        "{winner} won the {prize} in {venue} on Sunday. {loser}, who lives in {home}, came second.",
        ("{winner} beat {loser} in {month}", "The race was held in {venue}"),
        (
            ("@placeholder was faster than everyone else and took first place.", "winner"),
            ("@placeholder was disappointed to come second.", "loser"),
            ("Thousands came to @placeholder to watch the race.", "venue"),
        ),
    ),
    (
        "{winner} will lead the {prize} from {month} on. The council of {venue} chose the teacher "
        "over {loser} from {home}.",
        ("{winner} was chosen in {venue}", "{loser} lost the vote"),
        (
            ("@placeholder is glad to lead it and will start in {month}.", "winner"),
            ("@placeholder was not chosen and accepts the vote.", "loser"),
            ("The new leader was chosen by the council of @placeholder.", "venue"),
        ),
    ),
    (
        "Police in {venue} thanked {winner}, who found the stolen {prize} in a barn near {home}. "
        "{loser} has admitted taking it in {month}.",
        ("{winner} found it near {home}", "{loser} is being held in {venue}"),
        (
            ("@placeholder said that it was pure luck to find it.", "winner"),
            ("@placeholder told the police why it was taken.", "loser"),
            ("The barn near @placeholder had been empty for years.", "home"),
        ),
    ),
)
PRIZES = ("Cup", "Medal", "Trophy", "Prize", "Bell", "Crown")


def rows(draw: Draw, n: int, taken: set[str]) -> list[dict[str, Any]]:
    """Return n rows whose passages are not taken; adds them to the taken ones."""
    made: list[dict[str, Any]] = []
    while len(made) < n:
        story, points, queries = draw.pick(REPORTS)
        venue, home = draw.some(PLACES, 2)
        winner, loser = person(draw), person(draw)
        prize = f"{draw.pick(LAST_NAMES)} {draw.pick(PRIZES)}"
        names = {"winner": winner, "loser": loser, "venue": venue, "home": home, "prize": prize}
        values = {**names, "month": draw.pick(MONTHS)}
        passage = "\n@highlight\n".join((story, *points)).format(**values)
        if passage in taken or len(set(names.values())) < 5 or winner[0] == loser[0]:
            continue
        taken.add(passage)
        query, missing = draw.pick(queries)
        entities = sorted({n for n in names.values() if n in passage}, key=passage.index)
        spans = [(passage.index(entity), entity) for entity in entities]
        made.append(
            {
                "passage": passage,
                "query": query.format(**values),
                "entities": entities,
                "entity_spans": {
                    "text": [entity for _, entity in spans],
                    "start": [start for start, _ in spans],
                    "end": [start + len(entity) for start, entity in spans],
                },
                "answers": [names[missing]],
            }
        )
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 250 training rows (a tenth becomes dev) and 60 validation rows."""
    draw, taken = Draw("record"), set[str]()
    return {"train": rows(draw, 250, taken), "validation": rows(draw, 60, taken)}
