r"""A judge's reply as sentences of letters, one letter per word: "Assistant 1 gets 8/10." becomes `1gt.`.

Numbers: `t` out of ten, `b` in double brackets, `n` bare; each has its value, or None if it is not a
score (a range, a negative number, another scale, above ten).  Words: `1` and `2` the assistants, `e` both,
`v` score, `g` gets, `f` final, `r` respectively, `c` than, `!` not (or another speaker's words), `j` and,
`o` for, `k` other linking words, `w` all others.  Marks: `.` ends a sentence, `,` `(` `)`, `p` all others.
"""

import html
import re
import unicodedata

ONE, TWO = "\x01", "\x02"  # stand for the two assistants; no reply contains them
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LETTERS = {
    word: letter
    for letter, words in {
        "v": "score scores scored scoring rating ratings rated grade graded mark marks point points pts"
        " note punktzahl bewertung puntuación puntaje punteggio оценка балла баллов",
        "g": "give giving given assign assigned award deserve deserves earn earns earned receive receives"
        " received get gets got merit merits rate win wins say"
        " awarded awards deserving deserved meriting put puts place places earning warrant warrants"
        " warranting garner garners",
        "f": "final overall total average mean finally revised reflection thought",
        "e": "both each either same equal equally identical tie tied",
        "r": "respectively",
        "c": "than compared unlike over like",
        "!": "not never cannot can't don't doesn't isn't without instead rather if unless could might almost"
        " nearly below above under asks says claims writes tells prints print instructs demands requests"
        " quotes quote so-called probability odds fraction tests",
        ",": "vs versus",
        "j": "and but while whereas because since as with plus",
        "o": "for to goes",
        "k": "so a an the of is was are were be would will should i i'd i'll i've me my we our own it its this that"
        " at by from in on only just about around approximately roughly slightly solid strong high low perfect"
        " full decent good fair modest respectable quantitative numerical numeric part review evaluation"
        " assessment them us also higher lower more fewer less"
        " comment comments feedback analysis regarding response assistant assistants responses",
    }.items()
    for word in words.split()
}
_KINDS = {
    "one": "1",
    "two": "2",
    "bad": "t",
    "digits": "w",
    "margin": "w",
    "stop": ".",
    "hypothetical": "!",
}
_MARKS = {",": ",", "、": ",", "(": "(", "[": "(", ")": ")", "]": ")", "&": "j", "+": "j"}

SPEAKER = (
    "(?:assistant|asistente|assistent|response|réponse|respuesta|antwort|model|system|chatbot|ai|reply|output"
    "|candidate|(?-i:A(?:nswer|NSWER))|助手|助理|回答|回复|ассистент|ответ)"
)
_LIST = re.compile(rf"\b({SPEAKER})s\s+(1|(?-i:A))\s*(and|&|,|/|vs\.?)\s*(2|(?-i:B))\b", re.I)
_LABEL = re.compile(
    rf"(?<![^\W_]){SPEAKER}s?['’]?\s*(?:[#(]|no\.|number|[\"']\s*:)?\s*[\"']?"
    r"(?P<after>1|2|one\b|two\b|(?-i:A|B|I{1,2})\b)(?![\d]|\.\d|[A-Za-z])\)?(?:['’]s\b)?"
    rf"|\b(?:the\s+)?(?P<before>first|second|1st|2nd)\s+(?:{SPEAKER}|answer)\b(?:['’]s)?"
    r"|\bthe\s+(?P<bare>first|second|former|latter)(?:\s+one)?"
    r"(?=\s+(?:an?|gets?|receives?|deserves?|earns?|scores?|at|\d|is\s+an?\s+\d)|\s*[:=(])"
    r"|(?:(?<=\bfor\s)|(?<=\bto\s))the\s+(?P<last>first|second)(?:\s+one)?(?=\s*[,.;]|\s+and\b|\s*$)"
    r"|\b(?:score|rating|review)\s?\#?(?P<numbered>1|2|(?-i:A|B))(?=\W{0,3}[:=>])",
    re.I,
)
_N = rf"(?:\d{{1,3}}(?:[.,]\d+)?|\b(?:{'|'.join(_COUNTED)})\b)(?:\s+and\s+a\s+half\b)?"
_TEN = r"(?:10(?:[.,]0+)?|ten)\b(?![./,]?\d)"
_OF = r"(?:/|\bout\s+of|\bof)\s*(?:an?\s+(?:possible|maximum|total)\s+(?:of\s+)?)?"
_TOKEN = re.compile(
    rf"(?P<one>{ONE}+)|(?P<two>{TWO}+)|\[\[\s*(?P<b>{_N})\s*\]\]"
    rf"|(?P<margin>\bby\s+(?:an?|{_N})\s+(?:full\s+|whole\s+)?points?\b|{_N}\s+points?\s+(?:more|less|fewer|higher|lower|better|worse|ahead|behind)\b)"
    rf"|(?P<bad>{_N}\s*(?:-|–|—|\bto\b|\bor\b)\s*{_N}(?:\s*{_OF}{_TEN})?|(?<![\w.)])-{_N}(?:\s*{_OF}\d+)?"
    rf"|\d+(?:[.,]\d+)?\s*(?:%|{_OF}(?!{_TEN})\d+(?:[./]\d+)*))"
    rf"|(?P<t>{_N})\s*(?:points?\s+)?{_OF}{_TEN}(?:\s*(?:points?|marks?)\b)?"
    rf"|(?P<n>(?<!/)(?<!/ )(?<!out of ){_N})(?![A-Za-z\d%]|[.,]\d)|(?P<digits>\d+(?:[.,]\d+)*)"
    r"|(?P<hypothetical>\b(?:would|could|might)(?:['’]ve|\s+have)\s+(?:been|given|scored|rated|earned|received|got|gotten|deserved)\b)"
    r"|(?P<v>得分|评分|分数|打分|分)|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*\d*)"
    r"|(?P<stop>[;。；]|[.!?]+(?=[\s\"')\]]|$))|(?P<mark>\S)",
    re.I,
)
_SCALE = re.compile(
    rf"(?:,\s?)?(?:(?:on|from)\s+)?\ban?\s+(?:scale|range)\s+(?:of|from)\s+(?:\d+\s*(?:to|-|–)\s*)?{_TEN},?|\b{_TEN}-point\s+scale,?"
    rf"|(?<=[(\[])\s*(?:/|[01]\s*(?:to|-|–)\s*|out\s+of\s+){_TEN}\s*(?=[)\]])|(?<=score\s)out\s+of\s+{_TEN}"
    rf"|\b(?:from|between)\s+[01]\s+(?:to|and)\s+{_TEN}",
    re.I,
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}\n]*)\}\s*\{([^{}\n]*)\}")
_LATEX = re.compile(r"\\(?:[a-zA-Z]+|[,;:! ()\[\]])|[$\\]|(?<=\d)\}|\{(?=[\d\w])")
_HIDDEN = re.compile(r"<think>.*?</think>|\A.*</think>|~~[^~\n]*~~|</[\w -]+>", re.DOTALL | re.I)
_QUOTED = re.compile(r'"[^"\n]{1,300}"|«[^»\n]{1,300}»|「[^」\n]{1,300}」')
_ONLY_SCORE = re.compile(rf"\W*(?:{_N}\s*(?:{_OF}{_TEN})?|[^\d]*)\W*", re.I)
_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "−": "-", "*": "", "`": "", "_": " ",
                             ONE: " ", TWO: " "})  # fmt: skip


def plain(text: str) -> str:
    """Strip markup and quotations, and replace each assistant's name by one character; keeps the lines."""
    text = unicodedata.normalize("NFKC", re.sub(r"(?<=\d) ?½", ".5", html.unescape(text)))
    text = _HIDDEN.sub(lambda hidden: "\n" * hidden[0].count("\n"), text)
    if "\\" in text or "$" in text:
        text = _LATEX.sub(" ", _FRACTION.sub(r"\1/\2", text))
    text = _LIST.sub(r"\1 \2 \3 \1 \4", text.translate(_TYPOGRAPHY))
    text = _QUOTED.sub(
        lambda quoted: quoted[0] if _ONLY_SCORE.fullmatch(quoted[0]) else " ",
        _LABEL.sub(_label, text),
    )
    return _SCALE.sub(" ", text)


def letters(line: str) -> tuple[str, list[float | None]]:
    """Return a line's letters and their values (None for all but scores)."""
    found, values = [], []
    for token in _TOKEN.finditer(line):
        kind, text = str(token.lastgroup), token[0].lower()
        value = score(token[kind]) if kind in "tbn" else None
        if kind == "word":
            letter = _LETTERS.get(text, "w")
        elif kind == "mark":
            letter = _MARKS.get(text, "p")
        elif kind == "n":
            letter = "w" if value is None else "n"
        else:
            letter = _KINDS.get(kind, kind)
        found.append(letter)
        values.append(value)
    return "".join(found), values


def score(number: str) -> float | None:
    """Return the value of a number in digits or words, or None above ten."""
    word = number.lower().split()[0]
    value = float(_COUNTED.index(word)) if word in _COUNTED else float(word.replace(",", "."))
    value += 0.5 * number.lower().endswith("half")
    return value if value <= 10 else None


def _label(match: re.Match[str]) -> str:
    which = next(name for name in match.groups() if name).lower()
    return ONE if which in ("1", "one", "a", "i", "first", "1st", "former") else TWO
