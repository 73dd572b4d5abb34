"""Parses two scores and two reviews from a judge's free text; whatever is unclear is None.

Appendix E prescribes no output format, so replies vary.  All are read by one grammar:

    reply      is rewritten to plain lines (`markup`, `score_table`, `phrases`); a line is one or more sentences
    sentence   names, scores and linking words, one letter each (`words`)
    score      a number out of ten; or a bare number joined to "score", "gets", "an", a name, or to nothing
    owner      the name linked to the score ("6/10 for Assistant 2"), or else the one before it; two names and
               two scores in order; or else the section, or the assistant of whom the line speaks; or else, if
               no score has a name, the first of two is Assistant 1's
    rank       final ("overall", "on reflection") over stated ("Score: 7/10", "Assistant 1: 7") over inside a
               sentence ("I would give it 7/10") over in passing ("whether 7/10 is")
    nothing    criteria ("accuracy: 9"), conditions ("would be 9/10"), another's words ("asks for 10/10")
    unclear    ranges, other scales, "or", "maybe", two names that could own one score

An assistant's score is the value on which all its statements of the highest rank agree; an unclear one among
them, or two values, is None.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iapt.judge.markup import DOUBT, THIRD, plain, unfold
from iapt.judge.statements import FINAL, INSIDE, STATED, Said, Unit, statements
from iapt.judge.words import ONE, TWO, letters

MOST_CHARACTERS = 50_000  # ten times the default limit of a reply

_HEADING = re.compile(r"(?:^|[kfp,)])v[kfp]*p$|^[kp]*f[kfp]*v?[kfp]*$")  # "Final scores:"
_NAME = re.compile(r"[kpfvnoj()u,]*([12])(?![kpj,(]*[12])")
_SHORT = re.compile(r"[kvfn()]*(?:p|$)")
_FINAL = re.compile(r"[kpm]*f")
_CRITERION = re.compile(r"[kp]*[akjw]*a[akjw]*p[tn][.p)]*")
_LABELLED = re.compile(r"[kp]*[akjw]*[aw][akjw]*p[tn][.p)]*")
_TAKEN_BACK = re.compile(
    r"\A.*\bi(?:'ve|\s+have)?\s+(?:\w+\s+)?(?:mix|swapp|switch)(?:ed|ing)\s+(?:\w+\s+){0,3}?(?:up\b|them\b|two\b|scores?\b)",
    re.DOTALL | re.I,
)
_CORRECTED = re.compile(
    r"\b(?:correct|revis|edit|mix|swap|initial|first|chang|reflect|second\s+thought|adjust)", re.I
)
_DESCRIBED = re.compile(r"\bthe\s+one\s+(?:with|that|who|which|about|from)\b", re.I)
_BARE = re.compile(r"[(p]*n[,jVp(]*n[)p]*")


_OTHER = {"1": "2", "2": "1", "": "?"}


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
    """Parse a judge's raw reply; never raises, but has None for whatever could not be parsed."""
    if len(text) > MOST_CHARACTERS or ONE in text or TWO in text:
        return Verdict(None, None, None, None)
    lines = unfold(text).split("\n")
    quoted = [line.lstrip().startswith(">") for line in lines]
    # A block quote repeats somebody's words, unless the whole reply is one.
    kept = [line.lstrip("> ") for line in lines]
    if not all(
        hidden or not re.search(r"\w", line) for hidden, line in zip(quoted, lines, strict=True)
    ):
        kept = ["" if hidden else line for line, hidden in zip(lines, quoted, strict=True)]
    view = _TAKEN_BACK.sub(lambda said: "\n" * said[0].count("\n"), plain("\n".join(kept)))
    if THIRD.search(view) or DOUBT.search(view):
        return Verdict(None, None, None, None)
    units = _units(view)
    heads = _heads(units)
    topics = _sections(units, heads)
    units = _without_criteria(units)
    said: list[Said] = []
    named, final = set[str](), False
    for at, unit in enumerate(units):
        if at and units[at - 1].line != unit.line:
            final = False
        named |= set(unit.text) & {"1", "2"}
        found = statements(at, unit, topics[at], named != {"2"}, final)
        final = (final or bool(_FINAL.match(unit.text))) and not found
        said += found
    said += _bare_pair(units)
    said = _headed(units, said)
    described, corrected = bool(_DESCRIBED.search(view)), bool(_CORRECTED.search(view))
    one, two = _scores(units, said, heads, described, corrected)
    return Verdict(*_reviews(lines, units, said, heads), one, two)


def _units(view: str) -> list[Unit]:
    """Split a reply into sentences."""
    units: list[Unit] = []
    for number, line in enumerate(view.split("\n")):
        text, values = letters(line)
        stops = [at for at, letter in enumerate(text) if letter == "."]
        for start, stop in zip([0, *[at + 1 for at in stops]], [*stops, len(text)], strict=True):
            if stop > start or not stops:
                units.append(Unit(number, text[start:stop], values[start:stop]))
    return units


def _without_criteria(units: Sequence[Unit]) -> list[Unit]:
    """Empty the lines "Empathy: 9/10" of a list in which others are known criteria ("Clarity: 6/10")."""
    if not any(_CRITERION.fullmatch(unit.text) for unit in units):
        return list(units)
    return [
        replace(unit, text="", values=[]) if _LABELLED.fullmatch(unit.text) else unit
        for unit in units
    ]


def _heads(units: Sequence[Unit]) -> list[_Head]:
    """Find the heads of sections; a section extends to the next head."""
    heads = []
    for at, unit in enumerate(units):
        if match := _NAME.match(unit.text):
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
    """Make final what follows a heading, if it is one score of each assistant.

    "Final scores:" corrects what was stated before; after "Scores:", another score is a contradiction.
    """
    filled = [at for at, unit in enumerate(units) if unit.text]
    final = set[int]()
    for place, at in enumerate(filled):
        if _HEADING.search(units[at].text):
            below = filled[place + 1 : place + 3]
            told = {each.who: each.value for each in said if each.unit in below}
            others = [each for each in said if each.rank == STATED and each.unit not in below]
            denied = any(told.get(each.who, each.value) != each.value for each in others)
            alone = sorted(each.who for each in said if each.unit in below) == ["1", "2"]
            if alone and ("f" in units[at].text or not denied):
                final |= set(below)
    return [replace(each, rank=FINAL) if each.unit in final else each for each in said]


def _scores(
    units: Sequence[Unit],
    said: Sequence[Said],
    heads: Sequence[_Head],
    described: bool,
    corrected: bool,
) -> tuple[float | None, float | None]:
    """Resolve all statements to two scores; two without names are in order, unless the text has other names."""
    unnamed = [each for each in said if not each.who]
    last = max((each.unit for each in unnamed), default=0)
    told = [head for head in heads if head.unit <= last]
    # Sentences that begin with a name form sections only if each assistant has exactly one.
    trusted = len(told) <= 2 or all(head.title for head in told)
    sections = _sections(units, told if trusted else [])
    spoken = _spoken_of(units)

    def owner(each: Said) -> str:
        if each.who == "O":
            return _OTHER[spoken[each.unit]]
        return each.who or sections[each.unit] or spoken[each.unit]

    owned = [replace(each, who=owner(each)) for each in said]
    one, two = _resolved(owned, "1"), _resolved(owned, "2")
    if _denied(owned, one, two) or (not corrected and _swapped(owned, one, two)):
        return None, None
    if one is not None and two is not None:
        return one, two
    stated = [each for each in unnamed if each.rank > INSIDE] or unnamed
    if described:
        return one, two
    if len(stated) == 2 and len(unnamed) == len(said) and not (told and told[0].who == "2"):
        return stated[0].value, stated[1].value
    return one, two


def _denied(said: Sequence[Said], one: float | None, two: float | None) -> bool:
    """Tell whether the reply names both assistants again, after their scores, with other ones."""
    told = [each.unit for each in said if each.rank > INSIDE]
    again = [each for each in said if each.rank == INSIDE and each.unit > max(told, default=0)]
    others = {each.who for each in again if each.value != {"1": one, "2": two}.get(each.who)}
    return bool(told) and {"1", "2"} <= others and all(each.rank < FINAL for each in said)


def _swapped(said: Sequence[Said], one: float | None, two: float | None) -> bool:
    """Tell whether the reply also gives each assistant the other's score."""
    told = {(each.who, each.value) for each in said}
    return one != two and {("1", two), ("2", one)} <= told


def _resolved(said: Sequence[Said], who: str) -> float | None:
    """Return an assistant's score, if the statements of its highest rank agree."""
    own = [each for each in said if each.who in (who, "e")]
    rank = max((each.rank for each in own), default=INSIDE)
    best = {each.value for each in own if each.rank == rank}
    return best.pop() if len(best) == 1 else None


def _spoken_of(units: Sequence[Unit]) -> list[str]:
    """Return for each unit the one assistant that its line has named so far, or ""."""
    names, spoken, line = set[str](), [], -1
    for unit in units:
        if unit.line != line:
            names, line = set(), unit.line
        spoken.append("".join(names) if len(names) == 1 else "")
        names |= set(unit.text) & {"1", "2"}
    return spoken


def _bare_pair(units: Sequence[Unit]) -> list[Said]:
    """Parse a first or last sentence that consists of two numbers."""
    filled = [(at, unit) for at, unit in enumerate(units) if unit.text]
    for at, unit in filled[:1] + filled[-1:]:
        if _BARE.fullmatch(unit.text):
            one, two = (unit.values[i] for i, letter in enumerate(unit.text) if letter == "n")
            return [Said("1", STATED, one, at), Said("2", STATED, two, at)]
    return []


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
