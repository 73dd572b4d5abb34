"""Reads two reviews and two scores from a judge's free text.

Appendix E asks for no output format, so replies vary: a section per assistant that ends in "Score:
7/10" (as in Table 9), a block of scores at the end, a list, a table, "[[7]]", a bare line "7 5".
A number is a score if it is out of ten, stands in double brackets, or follows a word such as
"score" or an assistant's name and a colon; a number above ten never is. Whose it is gets decided
by, in this order: the assistant named right beside it; the assistant's section it stands in; its
place, if there are just two. Of several scores for one assistant the last counts. What stays
unclear is None: nothing is guessed.
"""

import re
from dataclasses import dataclass

_ONE, _TWO = "\x01", "\x02"  # stand for the two assistants; no reply contains them

_LONG_GAP = re.compile(r"\s{3,}")
_SPEAKER = "(?:assistant|response|answer|model)"
_LABEL = re.compile(
    rf"{_SPEAKER}s?['’]?\s*(?:#|no\.|number)?\s*(?P<after>1|2|one|two|(?-i:[AB]))\b(?:['’]s)?"
    rf"|(?P<before>first|second|1st|2nd)\s+{_SPEAKER}\b(?:['’]s)?"
    r"|(?:score|rating|review) ?(?P<numbered>1|2)(?=\W{0,3}[:=])",
    re.IGNORECASE,
)
_DIGITS = r"\d{1,2}(?:[.,]\d+)?"
_NUMBER = rf"(?<![\d./,])(?P<value>{_DIGITS})"
_END = r"(?!\d|[.,]\d|\s*/|\s*%)"
_RANGE = r"(?:[01]\s*(?:to|-|–)\s*)?"
_TEN = r"(?:10|ten)\b(?![.,]?\d)"
_OUT_OF_TEN = re.compile(
    rf"{_NUMBER}\s*(?:/|out of|on (?:a|the) scale (?:of|from)\s+{_RANGE})\s*{_TEN}", re.IGNORECASE
)
_IN_BRACKETS = re.compile(rf"\[\[\s*{_NUMBER}\s*\]\]")
_SCALE = re.compile(
    rf"(?:scale\s+(?:of|from)\s+{_RANGE}|out of\s+|\(\s*(?:/|[01]\s*(?:to|-|–))\s*){_TEN}",
    re.IGNORECASE,
)
_AFTER_WORD = re.compile(
    rf"\b(?:score|rating|grade|mark)s?\b[^\n\d]{{0,60}}?{_NUMBER}{_END}", re.IGNORECASE
)
_AFTER_LABEL = re.compile(
    rf"[{_ONE}{_TWO}][\s:=|(\"',–-]{{1,6}}(?:at\s+)?{_NUMBER}{_END}"
    r"(?=[ \t]*(?:$|[,;.)|\]}\n–-]|and\b))"
)
_TWO_NUMBERS = r"({n})(?:\s*/\s*10)?\s*{between}\s*({n})(?:\s*/\s*10)?"
_BARE_LINE = re.compile(
    r"^[ \t(\[]*"
    + _TWO_NUMBERS.format(n=r"\d{1,2}(?:\.\d+)?", between=r"[ \t,;&]\s*(?:and\b)?")
    + r"[ \t)\].]*$",
    re.MULTILINE,
)
_PAIR_AFTER_WORD = re.compile(
    r"\b(?:scores|ratings)\b[\s:=]*(?:are\b\s*)?"
    + _TWO_NUMBERS.format(n=r"\d{1,2}(?:\.\d+)?", between=r"(?:[,;&]|and\b|vs\b\.?)")
    + _END,
    re.IGNORECASE,
)
_HEADING = re.compile(
    rf"^[^A-Za-z{_ONE}{_TWO}\n]*"
    r"(?:(?:review|evaluation|assessment|comments?|feedback)\s+(?:of|for|on)\s+)?(?:the\s+)?"
    rf"(?P<who>[{_ONE}{_TWO}])",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE = re.compile(rf"([{_ONE}{_TWO}])([^{_ONE}{_TWO}\d]{{0,60}})$")
_FOR = re.compile(rf"\s*(?:points?|marks?)?\s*(?:for|to)\s+(?:the\s+)?([{_ONE}{_TWO}])")
_IN_PARENTHESES = re.compile(rf"\s*\(\s*(?:for\s+)?([{_ONE}{_TWO}])[{_ONE}{_TWO}]*\s*\)")
_BOTH = re.compile(r"\bboth\b[^.\n]*$", re.IGNORECASE)
# Words that may stand between an assistant's name and its score.
_LINKING = frozenset(
    [
        *("score", "scores", "scored", "rating", "rated", "rate", "grade", "mark", "points"),
        *("final", "overall", "total", "quantitative", "review", "response"),
        *("get", "gets", "receive", "receives", "deserve", "deserves", "earns", "given", "give"),
        *("is", "was", "would", "be", "i", "my", "it", "assign", "s", "of", "a", "an", "the"),
        *("with", "for", "at", "to", "as", "from", "by"),
    ]
)


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
class _Mention:
    value: float
    start: int
    end: int


@dataclass(frozen=True)
class _Section:
    who: str
    start: int
    end: int


def read_reply(text: str) -> Verdict:
    """Read a judge's reply; never raises.

    Args:
        text: the reply as it came.

    Returns:
        The verdict, with None for what could not be read.
    """
    # Short runs of white space keep the patterns below linear.
    text = _LONG_GAP.sub(lambda gap: "\n\n" if "\n" in gap[0] else " ", text)
    view = _labelled(text)
    mentions = _mentions(view)
    sections = _sections(view)
    score1, score2 = _scores(view, mentions, sections)
    review1, review2 = _reviews(text, mentions, sections)
    return Verdict(review1, review2, score1, score2)


def _labelled(text: str) -> str:
    """Return the text at equal length: markdown blanked, each assistant's name made one letter."""

    def name(match: re.Match[str]) -> str:
        which = (match["after"] or match["before"] or match["numbered"]).lower()
        return (_ONE if which in ("1", "one", "a", "first", "1st") else _TWO) * len(match[0])

    return _LABEL.sub(name, re.sub(r"[*`#_\x01\x02]", " ", text))


def _mentions(view: str) -> list[_Mention]:
    without_scale = _SCALE.sub(lambda scale: " " * len(scale[0]), view)
    found: dict[int, _Mention] = {}
    for pattern, text in [
        (_OUT_OF_TEN, view),
        (_IN_BRACKETS, view),
        (_AFTER_WORD, without_scale),
        (_AFTER_LABEL, without_scale),
    ]:
        for match in pattern.finditer(text):
            start, value = match.start("value"), float(match["value"].replace(",", "."))
            if value <= 10:
                found.setdefault(start, _Mention(value, start, match.end()))
    return sorted(found.values(), key=lambda mention: mention.start)


def _sections(view: str) -> list[_Section]:
    heads = [(match["who"], match.start()) for match in _HEADING.finditer(view)]
    # A line that starts with the name of the assistant already under review is no new section.
    heads = [head for i, head in enumerate(heads) if i == 0 or head[0] != heads[i - 1][0]]
    ends = [start for _, start in heads[1:]] + [len(view)]
    return [_Section(who, start, end) for (who, start), end in zip(heads, ends, strict=False)]


def _scores(
    view: str, mentions: list[_Mention], sections: list[_Section]
) -> tuple[float | None, float | None]:
    named = {who: each.value for each in mentions if (who := _named_beside(view, each))}
    if len(named) == 2:
        return named[_ONE], named[_TWO]
    pair = _BARE_LINE.search(view) or _PAIR_AFTER_WORD.search(view)
    if pair and max(float(pair[1]), float(pair[2])) <= 10:
        return float(pair[1]), float(pair[2])
    found = {
        section.who: mention.value
        for section in sections
        for mention in mentions
        if section.start <= mention.start < section.end
    } | named
    if len(found) == 2:
        return found[_ONE], found[_TWO]
    if len(mentions) == 2 and not named:
        return mentions[0].value, mentions[1].value
    if len(mentions) == 1 and _BOTH.search(view[: mentions[0].start][-200:]):
        return mentions[0].value, mentions[0].value
    return found.get(_ONE), found.get(_TWO)


def _named_beside(view: str, mention: _Mention) -> str | None:
    """Return the assistant whose name only linking words separate from the number."""
    if given := _FOR.match(view, mention.end):
        return given[1]
    before = _BEFORE.search(view[: mention.start][-80:])
    if before and not re.search(r"[.!?;]\s", before[2]):
        words = set(re.findall(r"[a-z]+", before[2].lower()))
        if words <= _LINKING:
            return before[1]
    beside = _IN_PARENTHESES.match(view, mention.end)
    return beside[1] if beside else None


def _reviews(
    text: str, mentions: list[_Mention], sections: list[_Section]
) -> tuple[str | None, str | None]:
    first = {section.who: section for section in reversed(sections)}
    if len(first) == 2:
        one, two = first[_ONE], first[_TWO]
        return text[one.start : one.end].strip() or None, text[two.start : two.end].strip() or None
    if len(mentions) != 2:
        return None, None
    cut, end = (_end_of_line(text, mention.end) for mention in mentions)
    return text[:cut].strip() or None, text[cut:end].strip() or None


def _end_of_line(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return newline if newline >= 0 else len(text)
