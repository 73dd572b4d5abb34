r"""A judge's reply as sentences of letters, one letter per word: "Assistant 1 gets 8/10." becomes `1gt.`.

Numbers: `t` out of ten or in double brackets, `n` bare; each has its value, or None if it is no score (a range,
a negative number, another scale, above ten).  Words, by what they do to a score:

    1 2 e   the assistants; both of them            v  u   score; points
    g  G    gets, deserves; an assistant gives                  f      final, overall, on reflection
    a       a criterion: accuracy, clarity          s      says, asks: what follows are another's words
    h       would have, might, at first             y      if, unless
    q       or, maybe, between                      z      not
    x       at least, almost                        b      but
    W       better, wins                            l      worse, loses
    O       other
    m       I, my                                   c      than, compared
    r       respectively                            V      versus
    j       and                                     o      for, to
    i       a, an                                   k      other linking words
    w       all others

Marks: `.` ends a sentence, `,` `(` `)`, `p` all others.
"""

import re

ONE, TWO = "\x01", "\x02"  # stand for the two assistants; no reply contains them
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {
    "v": "score scores scored scoring rating ratings rated grade graded mark note punktzahl bewertung"
    " puntuación puntaje punteggio оценка verdict",
    "u": "point points pts pt marks балл балла баллов punkte puntos",
    "G": "gives gave assigns awards ranks",
    "g": "say give giving given assign assigned assigning award deserve deserves earn earns earned receive"
    " receives received get gets got merit merits rate win awarded deserving deserved"
    " meriting put puts place places earning warrant warrants warranting garner garners rates go goes worth",
    "f": "final overall total average mean finally revised revise reflection thought correction corrected"
    " checking holistic aggregate summarised summarized",
    "a": "accuracy clarity relevance helpfulness depth style creativity completeness correctness conciseness"
    " coherence fluency detail details tone structure grammar factuality safety readability organization"
    " organisation content usefulness harmlessness honesty formatting format originality brevity factual"
    " engagement language consistency precision presentation concision thoroughness truthfulness",
    "e": "both each apiece either equally tie tied same",
    "s": "says claims writes tells prints print asks instructs demands requests quotes quote so-called"
    " proposes recommends states mentions notes cites promises insists suggests holds tried asking telling claiming"
    " stating"
    " reads ends contains",
    "h": "could might leaned leaning inclined considered considering initial initially preliminary glance tentative"
    " tentatively first-glance probability odds fraction tests test cases instead rather otherwise had"
    " impression imdb provisional provisionally until people users chance questions",
    "y": "if unless",
    "x": "least most almost nearly below above under",
    "l": "worse weaker trails loses lost inferior beaten lags outperformed behind falls",
    "W": "better stronger superior outperforms preferable edges prefer beats wins leads ahead surpasses bests"
    " outshines",
    "O": "other rival counterpart competitor opponent",
    "z": "not never cannot can't don't doesn't isn't without wouldn't didn't neither nor",
    "q": "or maybe perhaps possibly somewhere between depending",
    "b": "but however yet although though",
    "m": "i i'd i'm i'll i've me my we our us mine",
    "c": "than compared unlike over like versus-like",
    "r": "respectively",
    "V": "versus against",
    "j": "and while whereas because since as with plus so hence therefore thus",
    "o": "for to",
    "i": "a an",
    "k": "the of is are was were be would will should it it's this that these at by from in on only just about"
    " around approximately roughly slightly solid strong high low perfect full decent good fair modest"
    " respectable quantitative numerical numeric part review evaluation assessment them also higher lower more"
    " fewer less order comment comments feedback analysis regarding response assistant assistants responses out"
    " quality one ones answer",
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words.split()}
_MARKS = {",": ",", "、": ",", "(": "(", "[": "(", ")": ")", "]": ")", "&": "j", "+": "j"}
_KINDS = {
    "margin": "w",
    "minus": "w",
    "one": "1",
    "two": "2",
    "bad": "t",
    "b": "t",
    "digits": "w",
    "stop": ".",
    "hypothetical": "h",
}

N = rf"(?:\d{{1,3}}(?:[.,]\d+)?|\b(?:{'|'.join(_COUNTED)})\b)(?:\s+and\s+a\s+half\b)?"
TEN = r"(?:10(?:[.,]0+)?|ten)\b(?![./,]?\d)"
OF = r"(?:/|\bout\s+of|\bof|\bsur|\bvon|\bde)\s*(?:the\s+)?(?:an?\s+(?:possible|maximum|total)\s+(?:of\s+)?)?"
# Numbers of something else.
_NO_SCORE = "|".join(
    [
        r"\d+\s*/\s*[1-4](?![\d/])",  # fractions: 1/3 of the steps
        rf"\d+\s*/\s*(?!{TEN})\d+\s+(?=[a-z]{{3}})",  # the 90/180 rule
        r"\d+(?:[.,]\d+)?\s*%",  # 80 %
        r"\d+(?:-\d+){2,}",  # 5-7-5, a date
        # 15-20 degrees, 2 to 3 litres
        r"\d+\s*(?:[-–—]|\bto\b)\s*\d+(?:\s*(?=[°€$£])|(?:\s+|-)(?=[a-z]{3}))"
        r"(?!points|marks|out\b|for\b|because|and\b|with\b|favou?r)",
        rf"\d+\s+of\s+(?!{TEN})\d+",  # week 11 of 16
        rf"{N}\s+(?:responses|assistants|answers|replies|models|outputs|reviews)\b",  # two responses
        rf"{N}\s+(?:out\s+)?of\s+(?:the\s+)?(?!{TEN}){N}\s+(?=[a-z]{{3}})(?!stars|points|marks)",  # 2 out of 5 steps
        rf"{N}\s+(?:out\s+)?of\s+the\s+{TEN}\s+(?=[a-z]{{3}})(?!points|marks)",  # 9 of the ten tips
        rf"\bby\s+(?:an?|{N})\s+(?:full\s+|whole\s+)?points?\b(?!\s+to\s+\d)",  # by two points
        rf"{N}\s+(?:points?\s+)?(?:more|less|fewer|higher|lower|better|worse|ahead|behind)\b",  # one point lower
        rf"{N}\s+points?\s+(?:below|above|under|over|short|off)\b",  # three points below
    ]
)
_TOKEN = re.compile(
    rf"(?P<one>{ONE}+)|(?P<two>{TWO}+)"
    rf"|(?P<margin>{_NO_SCORE})"
    rf"|(?P<bad>\bbetween\s+{N}\s+and\s+{N}(?:\s*{OF}{TEN})?|{N}(?:\s*{OF}{TEN})?\s*(?:-|–|—|\bto\b|\bor\b|~)\s*{N}(?!\d)(?:\s*{OF}{TEN})?"
    rf"|(?<![\w.)])[-−]{N}\s*{OF}\d+|\d+(?:[.,]\d+)?\s*{OF}(?!{TEN})\d+(?:[./]\d+)*)"
    rf"|\[\[\s*(?P<b>{N})\s*\]\]|(?P<t>{N})\s*(?:points?\s+)?{OF}{TEN}(?:\s*(?:points?|marks?)\b)?"
    rf"|(?P<n>(?<!/)(?<!/ )(?<!out of ){N})(?![A-Za-z\d%]|[.,]\d|:\d|-\w)|(?P<digits>\d+(?:[.,:]\d+)*)"
    rf"|(?P<minus>(?<![\w.)])[-−]{N})(?!\w)|(?P<V>\bvs\b\.?)"
    r"|(?P<hypothetical>\b(?:would|could|might)(?:['’]ve|\s+have)\b|\bwas\s+(?:going|about|tempted|inclined)\b)"
    r"|(?P<v>得分|评分|分数|打分|スコア|評価)|(?P<u>分|点)|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*\d*)"
    r"|(?P<stop>[;。；{}|]|[.!?]+(?=[\s\"')\]]|$))|(?P<mark>\S)",
    re.I,
)
_OF_A_MATCH = re.compile(r"\b(?:at|by|in|of|it|them|[A-Z][a-z]+)\s*$")  # "beat Brazil 7-1"


def letters(line: str) -> tuple[str, list[float | None]]:
    """Return a line's letters and their values (None for all but scores)."""
    found: list[str] = []
    values: list[float | None] = []
    for token in _TOKEN.finditer(line):
        kind, text = str(token.lastgroup), token[0].lower()
        pair = _descending(text) if kind == "bad" else None
        if pair and (
            "to" in text or not _OF_A_MATCH.search(line[max(0, token.start() - 30) : token.start()])
        ):
            found += "nVn"
            values += [pair[0], None, pair[1]]
            continue
        value = score(token[kind]) if kind in "tbn" else None
        if kind == "word":
            letter = _LETTERS.get(text, "w")
        elif kind == "mark":
            letter = _MARKS.get(text, "p")
        elif kind == "n":
            pronoun = text == "one" and found and found[-1] not in "pv(ig"  # "the better one"
            letter = "w" if value is None else "k" if pronoun else "n"
        else:
            letter = _KINDS.get(kind, kind)
        found.append(letter)
        values.append(value)
    # "I gave it 8" gives a score; "Assistant 1 gave the film 8" repeats somebody's.
    text = re.sub(r"(?:\A|[m.])[^12]*", lambda mine: mine[0].replace("G", "g"), "".join(found))
    return text, values


def score(number: str) -> float | None:
    """Return the value of a number in digits or words, or None above ten."""
    word = number.lower().split()[0]
    value = float(_COUNTED.index(word)) if word in _COUNTED else float(word.replace(",", "."))
    value += 0.5 * number.lower().endswith("half")
    return value if value <= 10 else None


def _descending(text: str) -> tuple[float, float] | None:
    """Return the two numbers of "8 to 6" or "8-6", which is a result; "6 to 8" is a range."""
    text = re.sub(rf"\s*{OF}{TEN}", "", text)
    both = [
        score(part) for part in re.split(r"\s*(?:-|–|—|/|\bto\b)\s*", text) if re.fullmatch(N, part)
    ]
    if len(both) == 2 and both[0] is not None and both[1] is not None and both[0] > both[1]:
        return both[0], both[1]
    return None
