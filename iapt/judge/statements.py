"""Which numbers of a sentence are scores, and whose: a reading of the letters of `words`.

A number out of ten is a score.  A bare number is one only because of what it is joined to: the word "score", a
verb of giving, an article ("an 8"), a name ("Assistant 1: 8"), or nothing at all in its sentence.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_NEAR = 60  # words examined on each side of a number
_MOST_NUMBERS = 40  # no sentence has more; keeps the time linear
LOOSE, INSIDE, STATED, FINAL = range(4)

_ENDS = re.compile(r"$|[,p)(jobfrcVmu12e.qh]|k+(?=$|[,p)m])")
_JOINED = re.compile(
    r"(?:v[kpofjm12e(),i]*|[gvW].*[12e]k{0,2}|g(?:[kivofm12e,v]|w(?=[ik]))*|[12e][kpvf(),]*[pgvW(,][kf]?|i[kfw]?|(?:^|[,p(])[kp]*f[kfpv(]*)$"
)
_SCORED = re.compile(r"v[kpofm12e(),i]*$|[12e][kpvf(),]*p[kf]?$")
_BESIDE = re.compile(r"u?v?k*o[kji]*[12e]|u?\(k*[12e]\)?|p[12e]$")
_ALONE = re.compile(r"[kpf(]*$"), re.compile(r"[)pu]*$")
_SHORT_GAP = re.compile(r"u?[),jpkVioucgvf(]{0,6}")
_TO = re.compile(r"u?[kc]*[oV][kic]*")
_RIGHT = re.compile(
    r"u?v?[)k]*(?:o|p|\(|,?(?=e))[kj(]*([12e])(?![kpgvf(]*[tn])|u?k*(e)[k)]*(?:$|[.,])"
)
_COMPARED = re.compile(r"(?:c[kiogv]*|ej)[12](?!\(?[tn]|,?wk?[gkv]*i?[tn])")
_IN_TURN = re.compile(r"(?:^|[pfj,kb])([12])n[,jp)]*(?!\1)[12]n(?=$|[.,jb])")
_TOGETHER = re.compile(r"1[j,]*k*2|2[j,]*k*1")
_CRITERION = re.compile(r"a[kpv(]*$"), re.compile(r"[)v]*[ok]+[ik]*a|\(a\)|a")
_OVERALL = re.compile(r"[)u]?k*f(?![^,.]*[tn])")
_DOUBTED = re.compile(r"q[^,.jb]{0,6}$|[xc][ki]{0,2}$"), re.compile(r"[)k]*\(?q(?![^,.]{0,3}1)")
_PASSING = re.compile(r"[wko]$"), re.compile(r"[wk]")
_BESIDE_NAME = re.compile(r"[12]\($")
_FOREIGN = (
    re.compile(r"s(?:(?!,jk*[12]?k*g)[^bm])*$|y[^b]*$|h[^,b]*$|G[^,bp]*$|z[kgivmo]*$|zwi$"),
    re.compile(r"h|[k)]*z|[kj)]*[hy]"),
)


@dataclass(frozen=True)
class Unit:
    """The letters and values of a sentence, and its line."""

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


def statements(at: int, unit: Unit, topic: str, ordered: bool, final: bool) -> list[Said]:
    """Return the scores that a unit states; a score that is not clear has no value.

    Args:
        at: its place.
        unit: the unit.
        topic: the assistant of its section, or "".
        ordered: whether the first of two scores without names can be only Assistant 1's; after
            "Winner: Assistant 2" it may as well be the winner's.
        final: whether the line began with "Correction:" or the like.
    """
    start, text = 0, unit.text
    found: list[tuple[int, int, float | None]] = []
    if sum(letter in "tn" for letter in text) > _MOST_NUMBERS:
        return []
    turns = list(_IN_TURN.finditer(text))
    for place, letter in enumerate(text):
        if letter not in "tn":
            continue
        before, after = text[max(start, place - _NEAR) : place], text[place + 1 :][:_NEAR]
        whole = text[max(0, place - _NEAR) : place]
        follows = bool(found) and found[-1][0] == start - 1
        in_turn = any(turn.start() <= place < turn.end() for turn in turns)
        if letter == "n" and not (in_turn or _is_score(whole, after, follows, before)):
            continue
        start = place + 1
        if _FOREIGN[1].match(after):
            continue
        if _FOREIGN[0].search(whole) and not _BESIDE_NAME.search(whole):
            continue
        if _CRITERION[0].search(before) or _CRITERION[1].match(after):
            continue
        denied = "z" in before[-5:]
        doubted = (not denied and _DOUBTED[0].search(before)) or _DOUBTED[1].match(after)
        alone = _ALONE[0].fullmatch(text[:place][:_NEAR]) and _ALONE[1].fullmatch(after)
        announced = "f" in before or (found and "f" in text[: found[0][0]])
        if final or announced or _OVERALL.match(after):
            rank = FINAL
        elif alone or _SCORED.search(whole):
            rank = STATED
        else:
            rank = LOOSE if _PASSING[0].search(whole) and _PASSING[1].match(after) else INSIDE
        found.append((place, rank, None if doubted else unit.values[place]))
    places, values = [place for place, _, _ in found], [value for _, _, value in found]
    owners = _owners(text, places, topic, values, ordered)
    said = [
        Said(who, rank, value if who != "?" else None, at)
        for who, (_, rank, value) in zip(owners, found, strict=True)
    ]
    # "8/10 for its content but 6/10 for its style" is no score, unless one of them is final.
    return [
        each
        if each.rank == FINAL or all(o.value == each.value for o in said if o.who == each.who)
        else replace(
            each, value=None, rank=max(o.rank for o in said if o.who == each.who and o.rank < FINAL)
        )
        for each in said
    ]


def _is_score(before: str, after: str, follows: bool, gap: str) -> bool:
    """Tell whether a bare number is a score."""
    if follows and gap == "V":
        return True
    if not _ENDS.match(after):
        return False
    if _JOINED.search(before) or (_ALONE[0].fullmatch(before) and _ALONE[1].fullmatch(after)):
        return True
    if re.match(r"f(?:$|[.,)])", after) and before[-1:] in ("", *"p,(jk"):  # "7.5 final"
        return True
    if after[:1] == "u" and after[1:2] != "w" and before[-1:] in ("", *"12egp(,i"):
        return True
    if re.search(r"[12]p[^12etn]{1,5}\($", before) and re.match(r"\)(?:$|[.,pj])", after):
        return True
    if _BESIDE.match(after) and before[-1:] not in ("w", "a"):
        return True
    if re.match(r"V[tn]|[,kj]*n?[,k)]*r", after) and before[-1:] != "w":
        return True
    return follows and bool(_SHORT_GAP.fullmatch(gap))


def _owners(
    text: str, places: list[int], topic: str, values: list[float | None], ordered: bool
) -> list[str]:
    """Return the owner of each score; "" if no name stands with it, "?" if it is not clear."""
    everyone = text
    text = _COMPARED.sub(lambda match: "w" * len(match[0]), text)
    if len(set(values)) == 1:
        text = _TOGETHER.sub(lambda match: "e" * len(match[0]), text)
    names = [letter for letter in text if letter in "12e"]
    if len(places) == 2:
        gap = text[places[0] + 1 : places[1]]
        if _SHORT_GAP.fullmatch(gap) or re.fullmatch(r"\)?[(,]?V[(]?", gap):
            owners = _pair(everyone, places, gap, ordered, values)
            return ["?", "?"] if _contradicts(everyone, values) else owners
    if not names:
        return ["O" if "O" in text else ""] * len(places)
    owners, start = [], 0
    for place in places:
        left = [letter for letter in text[start:place] if letter in "12e"]
        right = _RIGHT.match(text[place + 1 :][:_NEAR])
        start = place + 1
        behind = (right[1] or right[2]) if right else ""
        if right and (behind == "e" or "o" in right[0] or not left or text[place + 1] == ")"):
            owners.append(behind)
            start += right.end()
        elif "O" in text[max(0, place - 4) : place] and len(set(names)) == 1 and names[0] != "e":
            owners.append("2" if names[0] == "1" else "1")
        elif left:
            near = re.search(r"[12e](?:,w)?[kpvgf(),io]*$", text[:place][-_NEAR:])
            last = left[-1]  # after "both", a single name is clear
            clear = near is not None or set(left) <= {last, "e"}
            owners.append(last if clear else "?")
        else:
            owners.append("")
    if len(set(names)) == 1:
        alone = topic in ("", names[0]) or names[0] == "e"
        owners = (
            [who or (names[0] if alone else "?") for who in owners]
            if len(places) == 1 or (owners and owners[0])
            else owners
        )
    elif len(owners) == 2 and not owners[0] and owners[1] in ("1", "2") and names[0] != owners[1]:
        owners[0] = names[0]  # "With 9/10, Assistant 1 beats Assistant 2, which gets 7/10"
    elif "" in owners:
        owners = [who or "?" for who in owners]
    return owners


def _pair(
    text: str, places: list[int], gap: str, ordered: bool, values: Sequence[float | None]
) -> list[str]:
    """Return the owners of two scores given together."""
    first, second = places
    ahead = [letter for letter in text[:first] if letter in "12"]
    behind = [letter for letter in text[second + 1 :] if letter in "12"]
    in_order = list(dict.fromkeys(ahead)), list(dict.fromkeys(behind))
    right = _RIGHT.match(text[second + 1 :][:_NEAR])
    if not ahead and not behind:
        alike = "e" in text and values[0] == values[1]
        clear = ordered and ("e" not in text or alike) and "O" not in text
        return ["1", "2"] if clear else ["?", "?"]
    if len(in_order[0]) == 2:
        return in_order[0]
    if (
        not ahead
        and len(in_order[1]) == 2
        and re.match(r"v?[)kpj,]*[o(]|,k*[12][^12]*W", text[second + 1 :])
    ):
        return in_order[1]
    if len(in_order[0]) == 1 and right and right[1] and right[1] != ahead[0]:
        return [ahead[0], right[1]]
    if len(in_order[0]) == 1 and _TO.fullmatch(gap):
        return [ahead[0], "2" if ahead[0] == "1" else "1"]
    if not ahead and len(behind) == 1 and re.match(r"kwk|o", text[second + 1 :]) and "V" in gap:
        return [behind[0], "2" if behind[0] == "1" else "1"]
    return ["?", "?"]


def _contradicts(text: str, values: Sequence[float | None]) -> bool:
    """Tell whether two names in the order of two scores say that the lower score is the better."""
    one, two = values
    if one is None or two is None or not {"1", "2"} <= set(text):
        return False
    if re.search(r"[12][^12]*l[^12]*[12]", text):
        return one > two
    return bool(re.search(r"[12][^12]*W[^12]*[12]", text)) and one < two
