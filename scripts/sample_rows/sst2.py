"""SST-2: one short opinion on an invented film, tokenised and in lower case as the data set is.

Most sentences carry one sign throughout; in one of six an opening clause says the opposite and the
main clause decides.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import article

GENRES = (
    *("comedy", "drama", "thriller", "western", "documentary"),
    *("romance", "mystery", "musical", "fable", "satire"),
)
TOPICS = (
    *("two sisters", "a lost dog", "a small town", "old friends", "a bank robbery", "first love"),
    *("a family farm", "a lonely painter", "a village choir", "a school play", "growing old"),
)
PARTS = (
    *("script", "plot", "acting", "camera work", "dialogue"),
    *("music", "ending", "pacing", "cast", "humour"),
)
GOOD = (
    *("warm", "funny", "moving", "brilliant", "charming", "gripping", "tender", "fresh"),
    *("wonderful", "delightful", "superb", "clever", "touching", "beautiful", "sharp", "lively"),
)
BAD = (
    *("dull", "clumsy", "tedious", "awful", "lifeless", "boring", "silly", "stale", "terrible"),
    *("messy", "shallow", "painful", "bland", "lazy", "dreary", "forced"),
)
GOOD_ENDS = (
    *(
        "you will leave the cinema smiling",
        "it earns every one of its laughs",
        "it stays with you for days",
    ),
    *(
        "it is a pleasure from start to finish",
        "the audience loved it",
        "it never puts a foot wrong",
    ),
)
BAD_ENDS = (
    *("you will want your money back", "it is a waste of two hours", "it fails on every level"),
    *("the audience was asleep by the middle", "it never comes to life", "it goes nowhere slowly"),
)
FORMS = (
    "{a_x} {genre} about {topic} , with {y} {part} .",
    "the {part} is {x} and the {part2} is {y} .",
    "a story of {topic} that is {x} , {y} and {z} .",
    "{a_x} and {y} {genre} .",
    "this {genre} about {topic} is {x} ; {end} .",
    "with its {x} {part} and {y} {part2} , {end} .",
    "{x} {part} , {y} {part2} : {end} .",
)
TURNS = (
    "despite {w} {part} , this is {a_x} and {y} {genre} .",
    "the {part} may be {w} , but {end} .",
    "although the {part} is {w} , the rest of this {genre} is {x} and {y} .",
)


def rows(draw: Draw, n: int, taken: set[str]) -> list[dict[str, Any]]:
    """Return n rows, none of whose sentences is taken; adds them to the taken ones."""
    made: list[dict[str, Any]] = []
    for good in draw.mixed(n, 0.5):
        while True:
            words, ends = (GOOD, GOOD_ENDS) if good else (BAD, BAD_ENDS)
            x, y, z = draw.some(words, 3)
            part, part2 = draw.some(PARTS, 2)
            form = draw.pick(TURNS if draw.chance(1 / 6) else FORMS)
            text = form.format(
                **{
                    "x": x,
                    "y": y,
                    "z": z,
                    "a_x": article(x),
                    "w": draw.pick(BAD if good else GOOD),
                },
                **{
                    "part": part,
                    "part2": part2,
                    "genre": draw.pick(GENRES),
                    "topic": draw.pick(TOPICS),
                },
                end=draw.pick(ends),
            )
            if text not in taken:
                break
        taken.add(text)
        made.append({"sentence": text + " ", "label": int(good), "idx": len(made)})
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 500 training rows (a tenth becomes dev) and 100 validation rows."""
    draw, taken = Draw("sst2"), set[str]()
    return {"train": rows(draw, 500, taken), "validation": rows(draw, 100, taken)}
