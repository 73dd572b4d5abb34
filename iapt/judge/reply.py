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
from iapt.judge.words import ONE, TWO, letters, plain

MOST_CHARACTERS = 50_000  # ten times the default limit of a reply
_NEAR = 60  # words examined on each side of a number
INSIDE, STATED, FINAL = 1, 2, 3

_AFTER_NUMBER = re.compile(r"(?:v(?=$|[.,pj)]|k*o[kj]*[12e]))?(?:$|[.,p()12rjoe])")
_NAMED = re.compile(r"([12e])([kgvfpjo(]*\)?[kp]*)$|^p*([12])(,)$")
_NAMED_BEHIND = re.compile(
    r"v?k*o[kj]*([12e])(?![kp]*[tn])|\(k*o?k*([12e])\)?(?![kvgpf(]*[tn])|k*(e)[k)]*$"
)
_HEADED = re.compile(r"(?:^|[,p()j])[kfpo(]*(?:v[kpof()]*|fk*p[kp]*)$")
_IN_SENTENCE = re.compile(r"[vg][kfo]*(?:w[kf]*){0,2}$")
_ALONE = re.compile(r"[kpf()n]*$"), re.compile(r"[)v]*(?:$|[p,])")
_AT_THE_END = re.compile(r"\($|,k*$|^[wkf]{1,3}p$|^[12][^12!(]*p$"), re.compile(r"\)?$")
_COMPARED = re.compile(r"c[ko]*[12](?!\(?[tn])")
_TWO_NAMES_TWO_SCORES = re.compile(
    r"([12])[kpj,(]*([12])[kgvfpjew,()]*?([tbn])[,kjp(]*([tbn])(?![,kjp]*[tbnw])"
)
_TWO_SCORES_TWO_NAMES = re.compile(r"([tbn])[kjp,]*([tbn])v?[kjp,]*o[kjp,]*([12])[kjp,]*([12])")
_PAIR = re.compile(
    r"^[pf(]*([tb])[,kjp(.]{1,4}([tb])[)pkrv.,]*$|v[kpfo(]*([tbn])[,kjp(.]{1,4}([tbn])[)pkrv.,]*$|([tbn])[,kjp]+([tbn])[kpv,]*r"
)
_TITLE = re.compile(r"[kpfvnoj()]*([12])(?![kpj,(]*[12])")
_SHORT = re.compile(r"[kvfn()]*(?:p|$)")
_BARE = re.compile(
    r"[\s([]*(\d{1,2}(?:\.\d+)?)\s*(?:[,;&/\s]|and|vs\.?)\s*(\d{1,2}(?:\.\d+)?)[\s).\]]*"
)
_NUMBERED = re.compile(
    r"(?m)(?:^|(?<=[;,:\[({]))\s*[\"'(]?([12AB])[\"']?\s*[.):=]\s*(?=[\"']?\d{1,2}\b(?![^\n;,)}]*[a-z]))"
)
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
class _Unit:
    """The letters and values of a line, or of one sentence in a line that gives both scores."""

    line: int
    text: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class _Said:
    """One score: its owner ("1", "2", "e" for both, "" if nobody is named), rank, value and unit."""

    who: str
    rank: int
    value: float | None
    unit: int


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
    units, said = _units(_named_numbers(view))
    heads = _heads(units)
    sections = _sections(units, heads)
    for at, unit in enumerate(units):
        said += _statements(at, unit, sections[at])
    said.sort(key=lambda each: each.unit)
    one, two = _scores(units, said, heads) if said else _bare_pair(view)
    return Verdict(*_reviews(lines, units, said, heads), one, two)


def _named_numbers(view: str) -> str:
    """Read "1: 8/10; 2: 6/10" as the assistants' scores, if it can mean nothing else."""
    found = list(_NUMBERED.finditer(view))
    if "".join(m[1] for m in found) not in ("12", "AB"):
        return view
    if (ONE in view or TWO in view) and not _SCORES_FOLLOW.search(view[: found[0].start()]):
        return view
    return _NUMBERED.sub(lambda m: f" {ONE if m[1] in '1A' else TWO}: ", view)


def _units(view: str) -> tuple[list[_Unit], list[_Said]]:
    """Split a reply into units; a table is parsed here and leaves an empty unit."""
    units: list[_Unit] = []
    said: list[_Said] = []
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
                    _Said(who, rank, value, len(units))
                    for who, value in zip("12", table.scores, strict=True)
                ]
            units.append(_Unit(line, "", ()))
            line = end
            continue
        text, values = letters(lines[line])
        stops = [at for at, letter in enumerate(text) if letter == "."]
        if not ("1" in text and "2" in text and sum(letter in "tbn" for letter in text) > 1):
            stops = []
        for start, stop in zip([0, *[at + 1 for at in stops]], [*stops, len(text)], strict=True):
            units.append(_Unit(line, text[start:stop], values[start:stop]))
        line += 1
    return units, said


def _heads(units: Sequence[_Unit]) -> list[_Head]:
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


def _sections(units: Sequence[_Unit], heads: Sequence[_Head]) -> list[str]:
    """Return the owner of each unit's section: "1", "2" or ""."""
    begins, sections = {head.unit: head.who for head in heads}, [""]
    for at in range(len(units)):
        sections.append(begins.get(at, sections[-1]))
    return sections[1:]


def _statements(at: int, unit: _Unit, section: str) -> list[_Said]:
    """Return the scores that a unit states, given the owner of its section."""
    text = _COMPARED.sub(lambda match: "w" * len(match[0]), unit.text)
    if pair := _pair(text):
        return [_Said(who, STATED + ("f" in text), unit.values[place], at) for who, place in pair]
    said, start = [], 0
    for clause in text.split("."):
        numbers = {
            place: unit.values[start + place]
            for place, letter in enumerate(clause)
            if letter in "tbn"
        }
        found = {place: owner for place in numbers if (owner := _statement(clause, place, section))}
        loose = [
            n
            for place, n in numbers.items()
            if place not in found and clause[place] != "n" and n is not None
        ]
        for place, (who, rank) in found.items():
            # "9/10 for accuracy, 7/10 for style" is no score, unless one of them is final.
            said.append(_Said(who, rank, None if loose and rank < FINAL else numbers[place], at))
        start += len(clause) + 1
    return said


def _pair(text: str) -> list[tuple[str, int]] | None:
    """Return the owners and places of both scores, if a unit gives them together."""
    if "!" in text:
        return None
    if (m := _TWO_NAMES_TWO_SCORES.search(text)) and m[1] != m[2]:
        return [(m[1], m.start(3)), (m[2], m.start(4))]
    if (m := _TWO_SCORES_TWO_NAMES.search(text)) and m[3] != m[4]:
        return [(m[3], m.start(1)), (m[4], m.start(2))]
    if "1" not in text and "2" not in text and (m := _PAIR.search(text)):
        one, two = (at for at in range(1, 7) if m[at])
        return [("1", m.start(one)), ("2", m.start(two))]
    return None


def _statement(clause: str, place: int, section: str) -> tuple[str, int] | None:
    """Return the owner and rank of a number, or None if it is not a score."""
    before, after, bare = clause[:place], clause[place + 1 :][:_NEAR], clause[place] == "n"
    if len(before) > _NEAR:
        before = "w" + before[-_NEAR:]
    if bare and not _AFTER_NUMBER.match(after):
        return None
    names = _NAMED_BEHIND.match(after)
    behind = next(filter(None, names.groups())) if names else ""
    foreign = "!" in before
    m = _NAMED.search(before)
    if m and not (behind and "j" in m[0]):  # "... Assistant 1, and 6/10 to Assistant 2"
        who, link = m[1] or m[3], m[2] or m[4] or ""
        # "As good as Assistant 1 (8/10)" in Assistant 2's section is nobody's score.
        elsewhere = link[:1] == "(" and "w" in before[: m.start()] and section not in who + before
        # A bare number needs more than a name: "Assistant 1: 8", "rate Assistant 1 at 8".
        tied = set(before[max(0, m.start() - 2) :]) & set("vgp(,")
        if not foreign and not elsewhere and (tied or not bare or not after):
            return who, FINAL if "f" in before else STATED
        return None
    if m := _HEADED.search(before):
        return behind, FINAL if "f" in m[0] else STATED
    if foreign:
        return None
    if behind:
        return behind, STATED
    if _IN_SENTENCE.search(before):
        return "", INSIDE
    if bare:
        return None
    if clause[place] == "b" or (_ALONE[0].match(before) and _ALONE[1].match(after)):
        return "", STATED
    if _AT_THE_END[0].search(before) and _AT_THE_END[1].match(after):
        return before[0] if before[:1] in ("1", "2") else "", INSIDE
    return None


def _scores(
    units: Sequence[_Unit], said: Sequence[_Said], heads: Sequence[_Head]
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


def _resolved(said: Sequence[_Said], who: str) -> float | None:
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
    lines: Sequence[str], units: Sequence[_Unit], said: Sequence[_Said], heads: Sequence[_Head]
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
