"""Appendix E's prompt for the judge, for one turn or two.

The prompt covers one turn, and MT-Bench questions have two.  By default the judge sees the first turn, as
in the paper (Table 9 shows a first turn); `numbered` fits a whole dialogue into the same slots.
"""

import re
from collections.abc import Sequence

# Appendix E verbatim, errors included; only the line breaks of the printed column are removed.
PROMPT = """\
Task Introduction
you will be given a query, and two responses from two assistants,
could you compare the two responses, and do the following:
(1) write a concise review for each assistant's response, on how well the response answers the \
query, and whether it will be helpful to humans users, and any issues in the response;
(2) assigns a quantitative score on a scale of 10 to each response, reflecting your assessment of \
the two responses
Query:
[query]
Response 1 from assistant 1:
[response1]
Response 2 from assistant 2:
[response2]"""

_SLOT = re.compile(r"\[(query|response1|response2)\]")


def build_prompt(query: str, response1: str, response2: str) -> str:
    """Return Appendix E's prompt; a `[query]` inside an answer stays as it is."""
    texts = {"query": query, "response1": response1, "response2": response2}
    return _SLOT.sub(lambda slot: texts[slot[1]], PROMPT)


def numbered(turns: Sequence[str]) -> str:
    """Return a single text as it is, or join the texts of a dialogue with their numbers."""
    if len(turns) == 1:
        return turns[0]
    return "\n\n".join(f"Turn {number}: {text}" for number, text in enumerate(turns, start=1))
