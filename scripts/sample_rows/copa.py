"""COPA: which of two sentences is the cause, or the effect, of the premise?

Every row is made from a pair of cause and effect; the wrong choice comes from another pair. Train
and validation share the pairs, with other names and other wrong choices.
"""

from typing import Any

from scripts.sample_rows.draw import Draw
from scripts.sample_rows.names import FIRST_NAMES

# cause, effect; {a} is a name
PAIRS = (
    ("It rained all night.", "The garden path was muddy."),
    ("The sun came out.", "The snow in the yard melted."),
    ("The wind blew hard.", "A branch fell onto the road."),
    ("The power failed.", "The whole street was dark."),
    ("The pipe burst.", "The cellar filled with water."),
    ("{a} forgot the umbrella.", "{a} got wet in the rain."),
    ("{a} set the alarm too late.", "{a} missed the morning train."),
    ("{a} practised the violin every day.", "{a} played the piece without a mistake."),
    ("{a} left the milk in the sun.", "The milk turned sour."),
    ("{a} dropped the vase.", "There was broken glass on the floor."),
    ("{a} left the gate open.", "The dog ran into the street."),
    ("{a} ate too much cake.", "{a} had a stomach ache."),
    ("{a} watered the roses.", "The roses grew tall."),
    ("{a} lost the house key.", "{a} could not open the front door."),
    ("{a} won the lottery.", "{a} bought a large house."),
    ("{a} studied hard for the test.", "{a} got the best mark."),
    ("{a} did not sleep at night.", "{a} was tired the next day."),
    ("{a} told a joke.", "Everybody laughed."),
    ("{a} burnt the toast.", "The kitchen smelled of smoke."),
    ("{a} ran out of petrol.", "The car stopped on the motorway."),
    ("{a} had a high fever.", "{a} called a doctor."),
    ("{a} planted apple trees.", "{a} picked apples in autumn."),
    ("{a} stepped on a nail.", "{a} had a bleeding foot."),
    ("{a} saved money for years.", "{a} paid for the trip in cash."),
    ("{a} broke a leg on the slope.", "{a} walked with crutches."),
    ("{a} spilled ink on the letter.", "Nobody could read the letter."),
    ("{a} turned up the heating.", "The room became warm."),
    ("{a} sang too loudly.", "{a} lost the voice."),
    ("{a} fed the stray cat.", "The cat came back every day."),
    ("{a} forgot the oven.", "The bread was black."),
    ("{a} found a wallet.", "{a} brought it to the police."),
    ("{a} took the wrong bus.", "{a} arrived in the wrong town."),
)


def rows(draw: Draw, n: int, taken: set[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Return n rows, none of which is taken; adds them to the taken ones."""
    made: list[dict[str, Any]] = []
    labels = draw.mixed(n, 0.5)
    while len(made) < n:
        (cause, effect), other = draw.some(PAIRS, 2)
        asks_cause = draw.chance(0.5)
        name = draw.pick(FIRST_NAMES)
        premise, right = (effect, cause) if asks_cause else (cause, effect)
        wrong = other[0 if asks_cause else 1]
        second = labels[len(made)]
        choices = (wrong, right) if second else (right, wrong)
        texts = [text.format(a=name) for text in (premise, *choices)]
        row = (texts[0], texts[1], texts[2])
        if row in taken:
            continue
        taken.add(row)
        made.append(
            {
                "premise": texts[0],
                "choice1": texts[1],
                "choice2": texts[2],
                "question": "cause" if asks_cause else "effect",
                "label": int(second),
                "idx": len(made),
            }
        )
    return made


def build() -> dict[str, list[dict[str, Any]]]:
    """Return 400 training and 100 validation rows, the sizes of the release."""
    draw, taken = Draw("copa"), set[tuple[str, str, str]]()
    return {"train": rows(draw, 400, taken), "validation": rows(draw, 100, taken)}
