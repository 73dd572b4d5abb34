"""What judges say in several words, rewritten to words of the grammar: "I'd settle on a 7" becomes "I'd gets a 7"."""

import re

from iapt.judge.words import ONE, TWO, N

_SCORE = rf"(?=\s+(?:just\s+|only\s+|about\s+|around\s+)?(?:an?\s+)?(?:\w+\s+)?{N}(?![\w%]|[.,]\d))"
_IT = (
    r"(?:\s+(?:it|this|that|them|him|her|things"
    r"|(?:my|the|its|this|that)\s+(?:score|rating|mark|grade|one|response|answer)))?"
)
# In this order: a line may use the words that an earlier one has left.
_REWRITES = [
    # Another's words, and what is taken back
    (r"\bpoint(?:s|ed|ing)?\s+out\b(?!\s+of\b)", "says"),
    (
        r"\b(?:my\s+|the\s+)?(?:very\s+)?first\s+(?:thought|impression|instinct|reaction|inclination|guess|reading)\b"
        r"|\bat\s+first\b(?:,?\s+i\s+thought\b)?|\b(?:first|originally)\s+i\s+(?:thought|had|gave|wanted)\b"
        r"|\bi\s+(?:first|originally)\b(?:\s+thought\b)?(?:\s+of\b)?",
        "initially",
    ),
    (
        r"\b(?:actually,?\s+no|no,?\s+wait|scratch\s+that|make\s+that|on\s+second\s+thoughts?|looking\s+again)\b"
        r"|^\W*edit\s*:",
        "correction",
    ),
    # "the same formula" does not speak of both assistants
    (
        r"\b(?:the\s+)?same\s+(?=[a-z])(?!(?:scores?|ratings?|marks?|grades?|for|to|as|number)\b)",
        "",
    ),
    (rf"([{ONE}{TWO}])\s*(?:scores?\s*)?=\s*(?!\1)[{ONE}{TWO}]\s*(?:scores?\s*)?[=:]", "both:"),
    (r"(?<=\d)\s+(?:(?:from|for|by)\s+me|here|too|as\s+well)\b", ""),
    # Sums, of which the result counts
    (
        r"\b(average|mean|total|overall)\b\W{0,4}\(?\d[\d.]*(?:\s*\+\s*\d[\d.]*){1,8}\)?\s*(?:[/÷]\s*\d+\s*)?=\s*(?=\d)",
        r"\1 ",
    ),
    (r"\b10(?:\s*[-–]\s*\d(?:\.\d+)?){1,8}\s*=\s*(?=\d)", "score: "),
    # Other ways to write and to give a score
    (rf"^(\W*[{ONE}{TWO}].{{0,900}}\s)(?:—|–|-|→|=>)\s*({N})\s*$", r"\1; score: \2"),
    (rf",?\s*(?:so\s+)?that(?:'s|\s+is)\s+(?=an?\s+{N})", "; gets "),
    (rf"({N})-out-of-(?:10|ten)\b", r"\1 out of 10"),
    (
        rf"({ONE}\s*[/|,&]\s*{TWO}\W{{0,3}}[:=]\s*)(\d+)\s*/\s*(?!10\b)(\d+)(?![\d/])",
        r"\1 \2 and \3",
    ),
    (
        r"\b(?:can(?:no|')?t|couldn't|could\s+not|won't)\s+(?:\w+\s+){1,3}?(?:more|higher|better)\s+than\b",
        "gets",
    ),
    (r"\b(?:rather(?!\s+than)|instead(?!\s+of))\b", ""),
    (
        r"\b(?:as\s+a\s+whole|on\s+the\s+whole|all\s+in\s+all|all\s+told|all\s+things\s+considered|on\s+balance"
        r"|in\s+total|at\s+the\s+end\s+of\s+the\s+day|in\s+the\s+end)\b",
        "overall",
    ),
    (
        r"(?:,\s*)?(?:\b(?:is|was|are|were)\s+)?\b(?:awarded|given|assigned|goes|go|going)\s+to\b"
        rf"(?=\s+(?:the\s+)?[{ONE}{TWO}])",
        "for",
    ),
    (
        rf",?\s+(?:{N}|half\s+a)\s+(?:full\s+)?(?:points?\s+)?(?:lower|higher|below|above|behind|ahead|less|more|fewer)"
        rf"\s*[,:;]\s*(?:so\s+)?at{_SCORE}",
        " gets",
    ),
    (
        r"\b(?:(?:go(?:ing|es)?|went|stick(?:ing|s)?|stuck|leav(?:e|es|ing)|end(?:s|ed|ing)?\s+up"
        rf"|com(?:e|es|ing)\s+away){_IT}\s+(?:with|at)"
        r"|settl(?:e|es|ed|ing)\s+(?:on|at|for)"
        r"|(?:plac|rat|pegg?|position|pitch|land|sit|rest|stand|stay|com|top|clock|check|finish|set|hold|cap)"
        rf"(?:e|es|ed|s|ing|ting|ping)?{_IT}\s+(?:(?:in|out)\s+)?(?:at|on)"
        r"|(?:lower|rais|revis|adjust|dropp?|bump|knock|bring|reduc|mov|chang|updat|tak|cutt?|pull|push)"
        rf"(?:e|es|ed|s|ing)?{_IT}(?:\s+(?:back|down|up))?\s+to"
        r"|call(?:ing)?\s+(?:it|this|that)|end(?:s|ed)\s+at|that\s+(?:leaves|makes|gives)(?:\s+(?:it|me|us)(?:\s+(?:at|with))?)?"
        rf"|(?:comes|adds|works)\s+(?:out\s+)?to){_SCORE}",
        "gets",
    ),
]
# Nothing reaches across a line end: the reviews are cut at the lines of the scores.  Spaces are few, so that long
# runs of them cost no time.
_SPACES = {r"\s*": r"[^\S\n]{0,3}", r"\s+": r"[^\S\n]{1,3}", r"\W": r"[^\w\n]"}


def _compiled(pattern: str) -> re.Pattern[str]:
    for written, meant in _SPACES.items():
        pattern = pattern.replace(written, meant)
    return re.compile(pattern, re.I | re.M)


_COMPILED = [(_compiled(pattern), word) for pattern, word in _REWRITES]


def simplified(text: str) -> str:
    """Return the text with such phrases in the grammar's words; the assistants are ONE and TWO already."""
    for pattern, word in _COMPILED:
        text = pattern.sub(word, text)
    return text
