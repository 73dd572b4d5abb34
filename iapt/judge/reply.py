"""Parses two scores and two reviews from a judge's free text; whatever is unclear is None.

Appendix E prescribes no output format, so replies vary.  `words` maps each word to a letter, and short
patterns over the letters decide which number is a score and whose.  A score belongs to the assistant named
beside it, or else to the assistant whose section contains it, or else it is the first or second of two.

Statements have ranks: a final score ("Overall: 7/10", "on reflection 7/10") outranks a plain one ("Score:
7/10", "Assistant 1: 7"), which outranks one inside a sentence ("I would give it 7/10").  Statements of the
same rank must agree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iapt.judge.score_table import read_table
from iapt.judge.statements import FINAL, INSIDE, STATED, Said, Unit, statements
from iapt.judge.words import ONE, SPEAKER, TWO, letters, plain

MOST_CHARACTERS = 50_000  # ten times the default limit of a reply


_HEADING = re.compile(r"(?:^|[kfp,)])v[kfp]*p$")  # "Final scores:"
_TITLE = re.compile(r"[kpfvnoj()]*([12])(?![kpj,(]*[12])")
_SHORT = re.compile(r"[kvfn()]*(?:p|$)")
_BARE = re.compile(
    r"[\s([]*(\d{1,2}(?:\.\d+)?)\s*(?:[,;&/\s]|and|vs\.?)\s*(\d{1,2}(?:\.\d+)?)[\s).\]]*"
)
_NUMBERED = re.compile(
    r"(?m)(?:^|(?<=[;,:\[({]))\s*[\"'(]?([AR]?[12]|[AB])[\"']?\s*[.):=]\s*(?=[\"']?\d{1,2}\b(?![^\n;,)}]*[a-z]))"
)
_THIRD = re.compile(rf"(?mi)^\W*{SPEAKER}\s*(?:3|(?-i:C))\W+\d")  # there are two
_SCORES_FOLLOW = re.compile(r"\b(?:scores?|ratings?)\W*$", re.I)


@dataclass(frozen=True)
class Verdict:
    """Two reviews and two scores (0-10) in the order shown to the judge; None where not found."""

    review1: str | None
    review2: str | None
    score1: float | None
    score2: float | None

    @property
    def parsed(self) -> bool:
        """Whether both scores were found."""
        return self.score1 is not None and self.score2 is not None


@dataclass(frozen=True)
class _Head:
    """A unit that begins with an assistant's name: a title ("Assistant 1:") or a sentence."""

    who: str
    unit: int
    title: bool


def read_reply(text: str) -> Verdict:
    """Parse a judge's reply; never raises.

    Args:
        text: the raw reply.

    Returns:
        The verdict, with None for whatever could not be parsed.
    """
    if len(text) > MOST_CHARACTERS:
        return Verdict(None, None, None, None)
    lines = text.replace("\r\n", "\n").split("\n")
    quoted = [line.lstrip().startswith(">") for line in lines]
    # A block quote repeats somebody's words, unless the whole reply is one.
    kept = [line.lstrip("> ") for line in lines]
    if not all(quoted):
        kept = ["" if hidden else line for line, hidden in zip(lines, quoted, strict=True)]
    view = plain("\n".join(kept))
    if _THIRD.search(view):
        return Verdict(None, None, None, None)
    units, said = _units(_named_numbers(view))
    heads = _heads(units)
    sections = _sections(units, heads)
    named = set[str]()
    for at, unit in enumerate(units):
        named |= set(unit.text) & {"1", "2"}
        said += statements(at, unit, sections[at], in_order=named != {"2"})
    said = _headed(units, sorted(said, key=lambda each: each.unit))
    one, two = _scores(units, said, heads) if said else _bare_pair(view)
    return Verdict(*_reviews(lines, units, said, heads), one, two)


def _named_numbers(view: str) -> str:
    """Read "1: 8/10; 2: 6/10" as the assistants' scores, if it can mean nothing else."""
    found = list(_NUMBERED.finditer(view))
    if "".join(m[1] for m in found) not in ("12", "AB", "A1A2", "R1R2"):
        return view
    if (ONE in view or TWO in view) and not _SCORES_FOLLOW.search(view[: found[0].start()]):
        return view
    return _NUMBERED.sub(lambda m: f" {ONE if m[1] in ('1', 'A', 'A1', 'R1') else TWO}: ", view)


def _units(view: str) -> tuple[list[Unit], list[Said]]:
    """Split a reply into units; a table is parsed here and leaves an empty unit."""
    units: list[Unit] = []
    said: list[Said] = []
    lines, line = view.split("\n"), 0
    while line < len(lines):
        end = line
        while end < len(lines) and "|" in lines[end]:
            end += 1
        table = read_table(lines[line:end]) if end > line + 1 else None
        if table is not None:
            if table.scores is not None:
                rank = FINAL if table.final else STATED
                said += [
                    Said(who, rank, value, len(units))
                    for who, value in zip("12", table.scores, strict=True)
                ]
            units.append(Unit(line, "", ()))
            line = end
            continue
        text, values = letters(lines[line])
        stops = [at for at, letter in enumerate(text) if letter == "."]
        if not ("1" in text and "2" in text and sum(letter in "tbn" for letter in text) > 1):
            stops = []
        for start, stop in zip([0, *[at + 1 for at in stops]], [*stops, len(text)], strict=True):
            units.append(Unit(line, text[start:stop], values[start:stop]))
        line += 1
    return units, said


def _heads(units: Sequence[Unit]) -> list[_Head]:
    """Find the heads of sections; a section extends to the next head."""
    heads = []
    for at, unit in enumerate(units):
        if match := _TITLE.match(unit.text):
            title = bool(_SHORT.match(unit.text, match.end()))
            heads.append(_Head(match[1], at, title))
    if {"1", "2"} <= {head.who for head in heads if head.title}:
        heads = [head for head in heads if head.title]
    # A line that begins with the assistant already under review starts no section.
    return [head for at, head in enumerate(heads) if at == 0 or head.who != heads[at - 1].who]


def _sections(units: Sequence[Unit], heads: Sequence[_Head]) -> list[str]:
    """Return the owner of each unit's section: "1", "2" or ""."""
    begins, sections = {head.unit: head.who for head in heads}, [""]
    for at in range(len(units)):
        sections.append(begins.get(at, sections[-1]))
    return sections[1:]


def _headed(units: Sequence[Unit], said: Sequence[Said]) -> list[Said]:
    """Make final what follows a heading such as "Scores:", if it is one score of each assistant."""
    filled = [at for at, unit in enumerate(units) if unit.text]
    final = set[int]()
    for place, at in enumerate(filled):
        if _HEADING.search(units[at].text):
            below = filled[place + 1 : place + 3]
            if sorted(each.who for each in said if each.unit in below) == ["1", "2"]:
                final |= set(below)
    return [replace(each, rank=FINAL) if each.unit in final else each for each in said]


def _scores(
    units: Sequence[Unit], said: Sequence[Said], heads: Sequence[_Head]
) -> tuple[float | None, float | None]:
    """Resolve all statements to two scores."""
    unnamed = [each for each in said if not each.who]
    last = max((each.unit for each in unnamed), default=0)
    told = [head for head in heads if head.unit <= last]
    # Sentences that begin with a name form sections only if each assistant has exactly one.
    trusted = len(told) <= 2 or all(head.title for head in told)
    sections = _sections(units, told if trusted else [])
    owned = [replace(each, who=each.who or sections[each.unit]) for each in said]
    one, two = _resolved(owned, "1"), _resolved(owned, "2")
    if one is not None and two is not None:
        return one, two
    stated = [each for each in unnamed if each.rank > INSIDE] or unnamed
    if len(stated) == 2 and len(unnamed) == len(said) and not (told and told[0].who == "2"):
        return stated[0].value, stated[1].value
    return one, two


def _resolved(said: Sequence[Said], who: str) -> float | None:
    """Return an assistant's score, if the statements of its highest rank agree."""
    own = [each for each in said if each.who in (who, "e")]
    rank = max((each.rank for each in own), default=INSIDE)
    best = {each.value for each in own if each.rank == rank}
    return best.pop() if len(best) == 1 else None


def _bare_pair(view: str) -> tuple[float | None, float | None]:
    """Parse a reply whose first or last line consists of two numbers."""
    filled = [line for line in view.split("\n") if line.strip()]
    for line in filled[:1] + filled[-1:]:
        if (m := _BARE.fullmatch(line)) and max(float(m[1]), float(m[2])) <= 10:
            return float(m[1]), float(m[2])
    return None, None


def _reviews(
    lines: Sequence[str], units: Sequence[Unit], said: Sequence[Said], heads: Sequence[_Head]
) -> tuple[str | None, str | None]:
    """Return the two sections or, without sections, the text up to each of two scores."""
    starts = {head.who: head for head in reversed(heads)}
    if len(starts) == 2:
        found = []
        for who in "12":
            head = starts[who]
            following = [other.unit for other in heads if other.unit > head.unit]
            end = units[following[0]].line if following else len(lines)
            found.append("\n".join(lines[units[head.unit].line : end]).strip() or None)
        return found[0], found[1]
    ends = [units[each.unit].line + 1 for each in said]
    if len(ends) != 2 or ends[0] == ends[1]:
        return None, None
    parts = ("\n".join(lines[: ends[0]]), "\n".join(lines[ends[0] : ends[1]]))
    return parts[0].strip() or None, parts[1].strip() or None
