"""Examples that are longer than a backbone can read: reported, counted, left out or refused.

A prompt that is too long is cut (`encode`).  A response is never cut: if it is too long, its row is an error or
is left out.  A `max_length` that cuts most prompts of a split is a mistake, refused before weights are loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from iapt.data.encode import Encoded
from iapt.errors import ConfigError, DataError
from iapt.tasks.base import Example, Split


@dataclass(frozen=True)
class Fitting:
    """The examples of a split whose responses fit, their tokens, and the examples left out."""

    examples: list[Example]
    encoded: list[Encoded]
    left_out: list[Example]


def fitting(
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    max_length: int,
    place: Callable[[Example], str],
    *,
    skip: bool,
) -> Fitting:
    """Select the examples whose responses fit.

    Args:
        examples: the examples of a split.
        encoded: their tokens, from `encode_all`.
        max_length: the most tokens of instruction and response together.
        place: names the file and line of an example.
        skip: leave the other examples out instead of refusing them.

    Raises:
        DataError: a response does not fit and `skip` is not set, or none fits.
    """
    fit = [e.fits for e in encoded]
    left_out = [e for e, fits in zip(examples, fit, strict=True) if not fits]
    if left_out and not (skip and any(fit)):
        response = encoded[fit.index(False)].response
        advice = "" if skip else ", or leave such rows out of training: hparams.on_long=skip"
        raise DataError(
            f"{place(left_out[0])}: a response of {len(response):,} tokens leaves no room for its instruction in "
            f"hparams.max_length={max_length} ({len(left_out):,} of {len(fit):,} rows of this split are too long). "
            f"Raise it as far as the backbone's positions allow{advice}."
        )
    return Fitting(
        [e for e, fits in zip(examples, fit, strict=True) if fits],
        [e for e in encoded if e.fits],
        left_out,
    )


def cuts(encoded: Sequence[Encoded]) -> int:
    """Return the number of prompts that were cut."""
    return sum(e.truncated > 0 for e in encoded)


def cut_line(encoded: Sequence[Encoded], longest: int, what: str = "prompts") -> str:
    """Say how many prompts were cut, to what length, where, and by how much; empty text if none was.

    Args:
        encoded: the tokens of the prompts.
        longest: the length to which they were cut.
        what: what to call them.
    """
    if not cuts(encoded):
        return ""
    most = max(e.truncated for e in encoded)
    return (
        f"{cuts(encoded):,} of {len(encoded):,} {what} cut to {longest:,} tokens, in the middle of the longest "
        f"field; at most {most:,} token{'s' * (most > 1)} lost"
    )


def check_most_fit(
    encoded: Mapping[Split, Sequence[Encoded]], max_length: int, max_new_tokens: int, positions: int
) -> None:
    """Refuse a length that cuts more than half of the prompts of a split.

    Args:
        encoded: the tokens of each split; "test" has instructions alone.
        max_length: the most tokens of instruction and response together.
        max_new_tokens: the length of the longest answer, for which the test split leaves room.
        positions: the most tokens that the backbone can read besides a method's soft tokens.

    Raises:
        ConfigError: it does; the message gives the numbers, and the smallest length that cuts fewer than half.
    """
    faults, least = [], 0
    for split, some in encoded.items():
        if 2 * cuts(some) > len(some):
            faults.append(f"{cuts(some):,} of {len(some):,} {split} prompts")
        # The response of an instruction to decode is encoded as an end token only.
        answer = max_new_tokens - 1 if split == "test" else 0
        whole = sorted(len(e) + e.truncated + answer for e in some)
        least = max(least, whole[len(whole) // 2])
    if faults:
        advice = (
            f"give at least hparams.max_length={least}"
            if least <= positions
            else f"the backbone reads at most {positions:,}; choose one that reads more, or other data"
        )
        raise ConfigError(
            f"hparams.max_length={max_length}: would cut {' and '.join(faults)}, with room for the answer. From "
            f"{least:,} on it would cut fewer than half of each split: {advice}."
        )
