"""Which numbers of a judge's reply are scores, and whose: patterns over the letters of `words`.

A clause such as "Assistant 1 gets 8/10" is `1gt`. A number is a score because of what stands beside it: an
assistant's name, the word "score", a verb of giving, or nothing at all on its line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NEAR = 60  # words examined on each side of a number
INSIDE, STATED, FINAL = 1, 2, 3

_AFTER_NUMBER = re.compile(r"(?:v(?=$|[.,pj)]|k*o[kj]*[12e]))?(?:$|[.,p()12rjoe])")
_NAMED = re.compile(r"([12e])([kgvfpjo(]*\)?[kp]*)$|^p*([12])(,)$")
_NAMED_BEHIND = re.compile(
    r"v?k*o[kj]*([12e])(?![kp]*[tn])|\(k*o?k*([12e])\)?(?![kvgpf(]*[tn])|k*(e)[k)]*$"
)
_HEADED = re.compile(r"(?:^|[,p()j])[kfpo(]*(?:v[kpof()]*|fk*p[kp]*)$|(?:^|[,p])fk*$")
_IN_SENTENCE = re.compile(r"[vg][kfo]*(?:w[kf]*){0,2}$")
_ALONE = re.compile(r"[kpf()n]*$"), re.compile(r"[)v]*(?:ok)?(?:$|[p,])")
_AT_THE_END = re.compile(r"\($|,k*$|^[wkf]{1,3}p$|^[12][^12!(]*p$"), re.compile(r"\)?$")
_COMPARED = re.compile(r"c[ko]*[12](?!\(?[tn])")
_ASIDE = re.compile(r"(?<=[tbn])\([^()12]*![^()12]*\)")  # "(8/10 if the code compiled)"
_LISTED = re.compile(r"[,jp]+([tbn])(?:$|[,p)])")  # "scores 8, 6"
_TOGETHER = re.compile(r"^([kpvof]*)1[j,]2(?=[kgvp]*[tb][^tbn]*$)")  # "Assistants 1 and 2: 7/10"
_TWO_NAMES_TWO_SCORES = re.compile(
    r"([12])[kpj,(]*([12])[kgvfpjew,()]*?([tbn])[,kjp(]*([tbn])(?![,kjp]*[tbnw])"
)
_TWO_SCORES_TWO_NAMES = re.compile(r"([tbn])[kjp,]*([tbn])v?[kjp,]*o[kjp,]*([12])[kjp,]*([12])")
_PAIR = re.compile(
    r"^[pf(]*([tb])[,kjp(.]{1,4}([tb])[)pkrv.,]*$|v[kpfo(]*([tbn])[,kjp(.]{1,4}([tbn])[)pkrv.,]*$|([tbn])[,kjp]+([tbn])[kpv,]*r"
)


@dataclass(frozen=True)
class Unit:
    """The letters and values of a line, or of one sentence in a line that gives both scores."""

    line: int
    text: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Said:
    """One score: its owner ("1", "2", "e" for both, "" if nobody is named), rank, value and unit."""

    who: str
    rank: int
    value: float | None
    unit: int


def statements(at: int, unit: Unit, section: str, in_order: bool) -> list[Said]:
    """Return the scores that a unit states.

    Args:
        at: its place.
        unit: the unit.
        section: the owner of its section.
        in_order: whether the first of two scores without names can be only Assistant 1's; after
            "Winner: Assistant 2" it may as well be the winner's.
    """
    text = _TOGETHER.sub(r"\1kke", unit.text)
    for nothing_said in (_ASIDE, _COMPARED):
        text = nothing_said.sub(lambda match: "w" * len(match[0]), text)
    if pair := _pair(text):
        clear = in_order or "2" in text
        rank = STATED + ("f" in text)
        return [Said(who, rank, unit.values[n] if clear else None, at) for who, n in pair]
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
            listed = _LISTED.match(clause, place + 1)
            several = listed is not None and numbers[listed.start(1)] != numbers[place]
            unclear = several or (loose and rank < FINAL)
            said.append(Said(who, rank, None if unclear else numbers[place], at))
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
        if not foreign and not elsewhere and (tied or not bare or after[:1] in ("", "v")):
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
