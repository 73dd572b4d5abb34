"""Two systems compared by a judge: the replies, their averages, and the contents of Tables 3 and 9.

The paper asks once per query, so position bias may favour one system; `swap` asks again in the other
order and averages, which cancels the bias.  A reply whose two scores cannot be parsed is left out of the
averages and counted.  With `swap` a query needs both of its replies, because one alone would be biased.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from iapt.errors import MetricError
from iapt.judge.answers import Pair
from iapt.judge.endpoint import Reply
from iapt.judge.prompt import build_prompt, numbered
from iapt.judge.reply import Verdict, read_reply
from iapt.metrics.rouge import rouge_l_percent

Order = Literal["ab", "ba"]
_PAPER_CASE = "One morning after sunrise, Suresh was standing facing a pole."  # Table 9's query


@dataclass(frozen=True)
class Judgement:
    """One reply about one pair. `order` "ba" means that B was shown as assistant 1."""

    id: str
    order: Order
    reply: Reply
    verdict: Verdict

    def of(self, system: Literal["a", "b"]) -> tuple[float | None, str | None]:
        """Return the score and the review of a system, in either position."""
        if system == self.order[0]:
            return self.verdict.score1, self.verdict.review1
        return self.verdict.score2, self.verdict.review2


@dataclass(frozen=True)
class Averages:
    """The judge's scores over all queries.

    Attributes:
        score_a: mean score of A over the judged queries, 0-10; None if there are none.
        score_b: the same for B.
        n: queries in the averages.
        n_unparsed: queries left out because a reply could not be parsed.
        wins_a: queries on which A scored higher.
        wins_b: queries on which B scored higher.
    """

    score_a: float | None
    score_b: float | None
    n: int
    n_unparsed: int
    wins_a: int
    wins_b: int


def judge_pairs(
    pairs: Iterable[Pair], ask: Callable[[str], Reply], swap: bool = False
) -> Iterator[Judgement]:
    """Ask the judge about each pair, once or in both orders.

    Args:
        pairs: queries with both answers.
        ask: sends one prompt.
        swap: ask again with the answers in the other order.

    Yields:
        One judgement per reply as it arrives: for each pair "ab", and with `swap` also "ba".
    """
    for pair in pairs:
        query, shown = numbered(pair.questions), {"a": numbered(pair.a), "b": numbered(pair.b)}
        for order in _orders(swap):
            reply = ask(build_prompt(query, shown[order[0]], shown[order[1]]))
            yield Judgement(pair.id, order, reply, read_reply(reply.text))


def averages(judgements: Sequence[Judgement], swap: bool = False) -> Averages:
    """Average the scores over the queries whose replies could all be parsed.

    Args:
        judgements: all replies.
        swap: whether each query was asked in both orders.

    Raises:
        MetricError: a query does not have the replies that `swap` requires.
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


def table3_rows(
    names: tuple[str, str], pairs: Sequence[Pair], scores: Averages
) -> list[dict[str, Any]]:
    """Return Table 3's rows for A and B: the judge's mean score (0-10) and ROUGE-L (0-100)."""
    references = [[text] for pair in pairs for text in pair.references]
    rouge = [
        rouge_l_percent([text for texts in answers for text in texts], references)
        for answers in ([pair.a for pair in pairs], [pair.b for pair in pairs])
    ]
    judged = ((scores.score_a, scores.wins_a), (scores.score_b, scores.wins_b))
    return [
        {"name": name, "avg_score": score, "rouge_l": overlap, "wins": wins,
         "n": scores.n, "n_unparsed": scores.n_unparsed}
        for name, overlap, (score, wins) in zip(names, rouge, judged, strict=True)
    ]  # fmt: skip


def choose_case(
    pairs: Sequence[Pair], judgements: Sequence[Judgement], wanted: str = ""
) -> tuple[Judgement, Pair]:
    """Choose the query that Table 9 shows.

    Args:
        pairs: the queries with both answers.
        judgements: the replies; only those in the order "ab" count.
        wanted: the id of a query; "" chooses the paper's own query if it was judged, and otherwise the
            query on which the scores differ most, whichever system scores higher.

    Raises:
        MetricError: there is no query with this id, or no reply to show.
    """
    by_id = {pair.id: pair for pair in pairs}
    candidates = [j for j in judgements if j.order == "ab" and wanted in ("", j.id)]
    if not candidates:
        known = ", ".join(list(by_id)[:5])
        raise MetricError(
            f"case: got {wanted!r}; allowed are the ids of the queries ({known}, ...)."
        )

    def rank(judgement: Judgement) -> tuple[bool, bool, float]:
        one, two = judgement.verdict.score1, judgement.verdict.score2
        margin = abs(one - two) if one is not None and two is not None else 0.0
        papers = by_id[judgement.id].questions[0].startswith(_PAPER_CASE)
        return judgement.verdict.parsed, papers, margin

    best = max(candidates, key=rank)
    return best, by_id[best.id]


def table9(case: Judgement, pair: Pair, names: tuple[str, str]) -> str:
    """Return one case as Markdown: query, and for each system its answer, comments and score."""
    parts = [f"# Case {pair.id}", f"**Query**\n\n{_quoted(numbered(pair.questions))}"]
    for name, answers, (score, review) in (
        (names[0], pair.a, case.of("a")),
        (names[1], pair.b, case.of("b")),
    ):
        shown = "not found in the reply" if score is None else f"{score:g}"
        parts += [
            f"## {name}'s response",
            _quoted(numbered(answers)),
            f"**Judge's comments**\n\n{_quoted(review or 'not found in the reply')}",
            f"**Judge's score:** {shown}",
        ]
    return "\n\n".join(parts) + "\n"


def _orders(swap: bool) -> tuple[Order, ...]:
    return ("ab", "ba") if swap else ("ab",)


def _quoted(text: str) -> str:
    # A block quote keeps headings and tables inside an answer from becoming the document's own.
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines()) or ">"
