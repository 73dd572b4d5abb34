"""What a method looks like inside after training: functions that it learned, and its attention over prompts.

A run of a method that has something to show writes ``inspection.json``, which the report draws.  The file may
come from anyone, so its numbers and sizes are checked.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from iapt.configuration.checking import faults
from iapt.errors import DataError
from iapt.files import read_json, write_json

FILE = "inspection.json"
MOST_TOKENS = 400  # of a prompt
MOST_PROMPTS = 2
MOST_VIEWS = 16  # of the attention over one prompt

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(max_length=200)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(_Block):
    """A function of one number, given by points (x, y)."""

    name: Name
    points: Annotated[tuple[tuple[Number, Number], ...], Field(max_length=500)]


class Functions(_Block):
    """Functions that a method learned, and the one that they started from."""

    title: Name
    x_label: Name
    y_label: Name
    curves: Annotated[tuple[Curve, ...], Field(max_length=64)]
    reference: Curve | None = None


class Attended(_Block):
    """One prompt: its tokens, and for each named view one weight per token; a view's weights sum to 1."""

    tokens: Annotated[tuple[Name, ...], Field(max_length=MOST_TOKENS)]
    weights: Annotated[
        dict[Name, Annotated[tuple[Share, ...], Field(max_length=MOST_TOKENS)]],
        Field(max_length=MOST_VIEWS),
    ]


class Inspection(_Block):
    """Everything that there is to show about one trained method."""

    functions: Annotated[tuple[Functions, ...], Field(max_length=8)] = ()
    prompts: Annotated[tuple[Attended, ...], Field(max_length=MOST_PROMPTS)] = ()


def write_inspection(folder: Path, inspection: Inspection) -> Path:
    """Write an inspection into a run's folder and return the file's path.

    Raises:
        StorageError: it cannot be written.
    """
    write_json(folder / FILE, inspection.model_dump(mode="json"))
    return folder / FILE


def read_inspection(folder: Path) -> Inspection | None:
    """Read the inspection in a run's folder; None if there is none.

    Raises:
        DataError: the file is damaged; the message names it.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Inspection.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {faults(error, 'inspection', Inspection)[0]}") from error
