"""A judge's reply without its markup: one statement a line, the assistants' names as one character each.

JSON, XML, HTML, LaTeX and tables say the same as "Assistant 1: score: 8", and are turned into it, line by line, so
that one grammar reads them all.
"""

import html
import re
import unicodedata

from iapt.judge.phrases import simplified
from iapt.judge.score_table import rewritten
from iapt.judge.words import OF, ONE, TEN, TWO, N

_SPEAKER = (
    "(?:assistant|ass?ista?e?nt|asistente|assistent|asst|ass|response|resp|réponse|respuesta|antwort|model|system|chatbot|ai|reply|output"
    "|candidate|(?-i:A(?:nswer|NSWER))|助手|助理|回答|回复|アシスタント|ассистент|ответ)"
)
_LIST = re.compile(
    rf"\b({_SPEAKER})s?\s+(1|(?-i:A))\s*(and|&|(?<=s\s1),|/|vs\.?)\s*(2|(?-i:B))\b", re.I
)
_LABEL = re.compile(
    rf"(?<![^\W_]){_SPEAKER}s?\.?['’]?\s*(?:[#(]|no\.|number|[\"']\s*:)?\s*[\"']?"
    r"(?P<after>1|2|one\b|two\b|(?-i:A|B|I{1,2})\b)(?![\d]|\.\d|[A-Za-z])\)?(?:['’]s\b)?"
    rf"|\b(?:the\s+)?(?P<before>first|second|former|latter|1st|2nd)\s+(?:{_SPEAKER}|answer)\b(?:['’]s)?"
    r"|\bthe\s+(?P<bare>first|second|former|latter|1st|2nd)(?:\s+one)?"
    r"(?=\s+(?:an?|gets?|receives?|deserves?|earns?|scores?|should|would|at|\d|is\s+(?:given|rated|scored|worth|an?)\s+\d)|\s*[:=(])"
    r"|(?:(?<=\bfor\s)|(?<=\bto\s))the\s+(?P<last>first|second|former|latter|1st|2nd)(?:\s+one)?(?=\s*[,.;]|\s+an?\s+\d|\s+and\b|\s*$|\s+(?-i:I)\b)"
    rf"|(?:^|(?<=[.!?,;]\s))(?P<start>first|second)(?=\s*[:=]\s*{N})"
    rf"|{_SPEAKER}(?:\sid)?\s*:\s*(?P<yaml>1|2|(?-i:A|B))\s*$"
    r"|\b(?:score|rating|review)\s{0,2}(?:for\s|of\s)?\#?(?P<numbered>1|2|(?-i:A|B))(?=\W{0,3}[:=>])",
    re.I | re.M,
)
_SUBJECT = re.compile(
    r"(?:^|[.;,!?]\s+|\b(?:and|but|while|whereas)\s+)the\s+(first|second|former|latter)(?=\s+[a-z])(?!\s+(?:of|half|part|two|time)\b)",
    re.I | re.M,
)
_NUMBERED_NAME = re.compile(rf"(?:\b(?:no\.?|number|item)|\#)\s*[12]\s*\(([{ONE}{TWO}])\)", re.I)
_ORDERS = (["first", "second"], ["former", "latter"], ["second", "first"])
_EXPLICIT = re.compile(rf"{_SPEAKER}s?\s*[#(]?\s*(?:[12]|one|two|(?-i:[AB]))\b", re.I)
DOUBT = re.compile(
    r"\bcan(?:no|')?t\s+(?:tell|decide|say)\b|\bnot\s+sure\s+which|\b(?:am|i'm|remain)\s+unsure\b|\bunsure\s+(?:which|whether|how\s+to)\b|\bthe\s+reverse\b|\bhard\s+to\s+say\b|\bother\s+way\s+a?round\b|\bsecond\s*/\s*first\b|\b(?:opposite|reversed?)\s+order\b|\bwhich\s+(?:one\s+)?(?:was|is)\s+which",
    re.I,
)
_NUMBERED = re.compile(
    r"(?m)(?:^|(?<=[;,:\[({|]))[ \t]*[\"'(]?([AR]?[12]|[AB])[\"']?\s*[.):=]\s*(?=[\"']?\d{1,2}\b(?![^\n;,)}]*[a-z]))"
)
_INITIAL = re.compile(r"\b([ARSM]|(?:(?<=^)|(?<=\n))[arsm])([12])\b")
_SCORES_FOLLOW = re.compile(r"\b(?:scores?|ratings?)\W*$", re.I)
THIRD = re.compile(rf"(?mi)^[^\w\n]*{_SPEAKER}\s*(?:3|(?-i:C))\W+\d")  # there are two

_SCALE = re.compile(
    r"\bon\s+(?:the|that|this)\s+(?:same\s+)?scale\b"
    rf"|(?:,\s?)?(?:(?:on|from)\s+)?\ban?\s+(?:scale|range)\s+(?:of|from)\s+(?:\d+\s*(?:to|-|–)\s*)?{TEN},?|\b{TEN}-point\s+scale,?"
    rf"|(?<=[(\[])\s*(?:/|[01]\s*(?:to|-|–)\s*|out\s+of\s+){TEN}\s*(?=[)\]])|(?<=score\s)out\s+of\s+{TEN}"
    rf"|\b(?:from|between)\s+[01]\s+(?:to|and)\s+{TEN}",
    re.I,
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}\n]*)\}\s*\{([^{}\n]*)\}")
_REGEX = re.compile(r"(?:\\[dDsSwW]|[\]@])\{\d+(?:,\d*)?\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+\s*\{([^{}\n]*)\}")
_LATEX = re.compile(r"\\(?:[a-zA-Z]+|[,;:! ()\[\]])|[$\\]")
_THOUGHTS = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*", re.DOTALL | re.I)
_STRUCK = re.compile(r"~~[^~\n]*~~")
_BREAK = re.compile(r"(?:<br\s*/?>|</(?:tr|p|li|div|h\d)>)(?:[ \t]*\n)?", re.I)
_CELL = re.compile(r"<t[dh]\b[^<>\n]*>", re.I)
_FORMAT = re.compile(
    r"</?(?:b|i|u|em|strong|span|p|li|ul|ol|div|h\d|table|tbody|thead|tr|td|th|font|code|sup|sub)\b[^<>\n]*>",
    re.I,
)
_OPEN = re.compile(r"<([A-Za-z][\w-]*)((?:\s+[\w-]+\s*=\s*[\"'][^\"'<>\n]*[\"'])*)\s*/?>")
_SCORED = re.compile(r"score|rating", re.I)
_CODE = re.compile(r"`[^`\n]*=[^`\n]*`")
_CLOSE = re.compile(r"</[\w -]+>")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.){1,600}"|«[^»\n]{1,300}»|「[^」\n]{1,300}」')
_ONLY_SCORE = re.compile(rf"\W*(?:{N}\s*(?:{OF}{TEN})?|[^\d]*)\W*", re.I)
_INNER = re.compile(r"[,;.!?]")
_RELATIVE = re.compile(r",\s+(?:which|who)\b(?![^,.;:()\n]*/\s*10)[^,.;:()\n]{1,160},")
_ASIDE = re.compile(
    rf"\((?:it\s+|this\s+)?would\b[^()\n]*\)|\([^()\n]*\d\s*[+=][^()\n]*\)"
    rf"|\bon the other hand,?|\((?![^()]*\b(?:both|each)\b)(?:[^()\d{ONE}{TWO}\n]{{1,120}})\)"
)
_TWICE = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)(?:\s+and\s+a\s+half)?\s*\((\d+(?:\.\d+)?)\)",
    re.I,
)
_ENUMERATOR = re.compile(r"(?m)^[ \t#>•-]*(?:\(\d\)\s|\d\d?[.)][ \t]+(?!\d))")
_ITEM = re.compile(rf"(?<![{ONE}{TWO}])(?<![{ONE}{TWO}]\s)\([1-9]\)\s+(?=[a-z]{{2}})")
_FORCED = re.compile(
    r"\bif\s+(?:i\s+(?:had|have|were|must)|forced|pressed)\b(?!\s*,)[^:,.\n]{0,60}[:,]", re.I
)
_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "−": "-", "*": "", "`": "", "_": " ",
                             "⁄": "/", "⭐": "", "★": "", "☆": "", ONE: " ", TWO: " "})  # fmt: skip


def unfold(text: str) -> str:
    """Give each row and paragraph of HTML its own line."""
    return _BREAK.sub("\n", text.replace("\r\n", "\n")) if "<" in text or "\r" in text else text


def plain(text: str) -> str:
    """Return the reply's statements with ONE and TWO for the assistants; keeps the lines."""
    text = re.sub(r"(?<=\d) ?½", ".5", html.unescape(text))
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[^\x00-\x7f]", lambda m: str(unicodedata.decimal(m[0], m[0])), text)
    text = _THOUGHTS.sub(lambda hidden: "\n" * hidden[0].count("\n"), text)
    text = _STRUCK.sub("", text)
    text = _REGEX.sub("", _CODE.sub(" ", text))
    if "\\" in text or "$" in text:
        text = _COMMAND.sub(r" \1 ", _COMMAND.sub(r" \1 ", _FRACTION.sub(r"\1/\2", text)))
        text = _LATEX.sub(" ", text)
    if "<" in text:
        text = _FORMAT.sub("", _CELL.sub("|", text))
        text = _CLOSE.sub(";", _OPEN.sub(_tag, text))
    text = _LIST.sub(r"\1 \2 \3 \1 \4", text.translate(_TYPOGRAPHY))
    subjects = [match[1].lower() for match in _SUBJECT.finditer(text)]
    if subjects in _ORDERS and not _EXPLICIT.search(text):
        text = _SUBJECT.sub(lambda m: m[0][: m.start(1) - m.start() - 4] + _who(m[1]), text)
    text = _LABEL.sub(lambda m: _who(next(name for name in m.groups() if name)), text)
    text = _NUMBERED_NAME.sub(r"\1", text)
    text = _QUOTED.sub(_unquoted, text)
    text = _SCALE.sub(" ", text)
    if ONE not in text and TWO not in text:
        text = _unnamed(text)
    text = _named_numbers(text)
    text = rewritten(_TWICE.sub(r"\1", text))
    text = _ENUMERATOR.sub(" ", text)
    if "(1) " in text and "(2) " in text:
        text = _ITEM.sub(" ", text)
    return _ASIDE.sub(" ", _RELATIVE.sub(" ", _FORCED.sub(" ", simplified(text))))


def _unnamed(text: str) -> str:
    """Read names that are too short or too common to be names where others stand."""
    initials = {match.groups() for match in _INITIAL.finditer(text)}
    if len(initials) == 2 and len({letter for letter, _ in initials}) == 1:
        return _INITIAL.sub(lambda m: _who(m[2]), text)
    return text


def _named_numbers(text: str) -> str:
    """Read "1: 8/10; 2: 6/10" as the assistants' scores, if it can mean nothing else."""
    found = list(_NUMBERED.finditer(text))
    if "".join(m[1] for m in found) not in ("12", "AB", "A1A2", "R1R2"):
        return text
    if (ONE in text or TWO in text) and not _SCORES_FOLLOW.search(text[: found[0].start()]):
        return text
    return _NUMBERED.sub(lambda m: f" {_who(m[1][-1])}: ", text)


def _unquoted(match: re.Match[str]) -> str:
    """Keep a quoted score or name, and none of a quoted sentence."""
    text = match[0][1:-1]
    if not _ONLY_SCORE.fullmatch(text) or len(text) > 60:
        return " "
    return text if re.search(r"\d", text) else _INNER.sub(" ", text)


def _tag(match: re.Match[str]) -> str:
    found = re.findall(r"([\w-]+)\s*=\s*[\"']([^\"']*)", match[2])
    values = " ".join(f"{name} {value}" if _SCORED.search(name) else value for name, value in found)
    return f" {match[1]} {values}: "


def _who(name: str) -> str:
    return ONE if name.lower() in ("1", "one", "a", "i", "first", "1st", "former") else TWO
