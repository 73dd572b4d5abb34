"""The paper's judge: Appendix E's prompt over two systems' answers (Appendix C.7, Tables 3 and 9).

A judge reads a query and two responses, writes a review of each and gives each a score out of 10.
The paper asks once per query, so whichever system comes first may profit from its place; `swap`
asks a second time in the other order and averages, which cancels that.

A reply whose two scores cannot be read counts as unparsed and enters no average. With `swap` a
query needs both of its replies, because one of them alone would carry the bias that swapping
removes.

The prompt is for one turn, MT-Bench questions have two. By default the first turn is judged, as the
paper shows (Table 9 is a first turn); `both_turns` puts the dialogue in the same places, its turns
numbered, and asks once for the whole.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from iapt.errors import MetricError
from iapt.metrics.judge_reply import Verdict, read_reply

# Appendix E letter for letter, its slips included; only the breaks of the printed column are
# undone.
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

Order = Literal["ab", "ba"]
_SLOT = re.compile(r"\[(query|response1|response2)\]")


@dataclass(frozen=True)
class Pair:
    """One query with the answers of the two systems, A and B.

    Attributes:
        id: the query's.
        query: the text judged, one turn or both.
        answer_a: A's answer as the judge reads it, with numbered turns where there are two.
        answer_b: B's.
        turns_a: A's answers turn by turn, for metrics of text; none where `answer_a` is the answer.
        turns_b: B's.
    """

    id: str
    query: str
    answer_a: str
    answer_b: str
    turns_a: tuple[str, ...] = ()
    turns_b: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What the judge answered: its text, what it cost in tokens, and whether it was on disk."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


@dataclass(frozen=True)
class Judgement:
    """One reply about one pair. `order` "ba" means that B was shown as assistant 1."""

    id: str
    order: Order
    reply: Reply
    verdict: Verdict

    def of(self, system: Literal["a", "b"]) -> tuple[float | None, str | None]:
        """Return the score and the review of a system, wherever it was shown."""
        if system == self.order[0]:
            return self.verdict.score1, self.verdict.review1
        return self.verdict.score2, self.verdict.review2


@dataclass(frozen=True)
class Averages:
    """Table 3's first column.

    Attributes:
        score_a: mean score of A over the queries judged, 0-10; None if none was.
        score_b: the same of B.
        n: queries that entered the averages.
        n_unparsed: queries left out because a reply could not be read.
        wins_a: queries on which A scored higher.
        wins_b: queries on which B scored higher.
    """

    score_a: float | None
    score_b: float | None
    n: int
    n_unparsed: int
    wins_a: int
    wins_b: int


def build_prompt(query: str, response1: str, response2: str) -> str:
    """Return Appendix E's prompt; a `[query]` inside an answer is left as it is."""
    texts = {"query": query, "response1": response1, "response2": response2}
    return _SLOT.sub(lambda slot: texts[slot[1]], PROMPT)


def both_turns(turns: Sequence[str]) -> str:
    """Return a dialogue's queries, or answers, as one numbered text."""
    return "\n\n".join(f"Turn {number}: {text}" for number, text in enumerate(turns, start=1))


def judge_pairs(
    pairs: Iterable[Pair], ask: Callable[[str], Reply], swap: bool = False
) -> Iterable[Judgement]:
    """Ask the judge about each pair, once or in both orders.

    Args:
        pairs: queries with both answers.
        ask: sends one prompt.
        swap: ask again with the answers exchanged.

    Yields:
        One judgement per reply, as it arrives: per pair "ab", and with `swap` then "ba".
    """
    for pair in pairs:
        for order in _orders(swap):
            first, second = pair.answer_a, pair.answer_b
            if order == "ba":
                first, second = second, first
            reply = ask(build_prompt(pair.query, first, second))
            yield Judgement(pair.id, order, reply, read_reply(reply.text))


def averages(judgements: Sequence[Judgement], swap: bool = False) -> Averages:
    """Average the scores over the queries whose replies could all be read.

    Args:
        judgements: all replies.
        swap: whether each query was asked in both orders.

    Raises:
        MetricError: a query has not the number of replies that `swap` says.
    """
    by_query: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_query.setdefault(judgement.id, []).append(judgement)
    scores = []
    for query, replies in by_query.items():
        if sorted(reply.order for reply in replies) != sorted(_orders(swap)):
            raise MetricError(
                f"judgements: query {query!r} has replies in the orders "
                f"{[reply.order for reply in replies]}; with swap={swap} it needs "
                f"{list(_orders(swap))}."
            )
        a = [score for reply in replies if (score := reply.of("a")[0]) is not None]
        b = [score for reply in replies if (score := reply.of("b")[0]) is not None]
        if len(a) == len(b) == len(replies):
            scores.append((fmean(a), fmean(b)))
    return Averages(
        score_a=fmean(a for a, _ in scores) if scores else None,
        score_b=fmean(b for _, b in scores) if scores else None,
        n=len(scores),
        n_unparsed=len(by_query) - len(scores),
        wins_a=sum(a > b for a, b in scores),
        wins_b=sum(b > a for a, b in scores),
    )


def _orders(swap: bool) -> tuple[Order, ...]:
    return ("ab", "ba") if swap else ("ab",)
