"""What comes out of a judged comparison: Table 3's two rows and Table 9's case.

Table 3 has the judge's average score (0-10) and ROUGE-L against GPT-4's answers (0-100); Table 9 shows
one query with both answers, the judge's comments and its scores. Pure functions of judgements.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.errors import MetricError
from iapt.metrics.judge import Averages, Judgement, Pair
from iapt.metrics.rouge import rouge_l_percent

_PAPER_CASE = "One morning after sunrise, Suresh was standing facing a pole."  # Table 9's query


def gpt4_references(pairs: Sequence[Pair], answers: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return GPT-4's answer to each turn of each query.

    Raises:
        MetricError: a query has none.
    """
    missing = [pair.id for pair in pairs if pair.id not in answers]
    if missing:
        raise MetricError(
            f"GPT-4's answers: none to {len(missing)} of {len(pairs)} queries, the first is "
            f"{missing[0]!r}; ROUGE-L needs one for each."
        )
    return [[text] for pair in pairs for text in answers[pair.id]]


def table3_rows(
    names: tuple[str, str],
    pairs: Sequence[Pair],
    scores: Averages,
    references: Sequence[Sequence[str]] | None,
) -> list[dict[str, Any]]:
    """Return Table 3's rows for the systems A and B.

    Args:
        names: what to call them.
        pairs: the queries with both answers.
        scores: the judge's averages.
        references: what `gpt4_references` returns, or None if there is nothing to compare with.
    """
    answers = (
        [text for pair in pairs for text in pair.turns_a or (pair.answer_a,)],
        [text for pair in pairs for text in pair.turns_b or (pair.answer_b,)],
    )
    judged = ((scores.score_a, scores.wins_a), (scores.score_b, scores.wins_b))
    return [
        {
            "name": name,
            "avg_score": score,
            "rouge_l": None if references is None else rouge_l_percent(texts, references),
            "wins": wins,
            "n": scores.n,
            "n_unparsed": scores.n_unparsed,
        }
        for name, texts, (score, wins) in zip(names, answers, judged, strict=True)
    ]


def summary(result: Mapping[str, Any]) -> str:
    """Return the lines printed at the end: scores, queries left out, tokens and cost."""
    judge, usage, first = result["judge"], result["usage"], result["rows"][0]
    lines = []
    for row in result["rows"]:
        score = "-" if row["avg_score"] is None else f"{row['avg_score']:.2f}"
        rouge = "-" if row["rouge_l"] is None else f"{row['rouge_l']:.1f}"
        lines.append(f"{row['name']}: score {score}, ROUGE-L {rouge}, better on {row['wins']}")
    cost = "cost unknown" if usage["usd"] is None else f"USD {usage['usd']:.4f}"
    return "\n".join(
        [
            *lines,
            f"{judge['model']} judged {first['n']} queries; {first['n_unparsed']} are left out, "
            f"with {judge['replies_unparsed']} replies that could not be read",
            f"{usage['requests']} replies asked for ({usage['prompt_tokens']} + "
            f"{usage['completion_tokens']} tokens, {cost}), {usage['cached']} found on disk",
        ]
    )


def choose_case(
    pairs: Sequence[Pair], judgements: Sequence[Judgement], wanted: str = ""
) -> Judgement:
    """Choose the query that Table 9 shows.

    Args:
        pairs: the queries with both answers.
        judgements: the replies; those in the order "ab" are considered.
        wanted: the id of a query, or "" for the paper's own query if it was judged, and otherwise
            the one on which the scores differ most, whichever system has the better one.

    Raises:
        MetricError: there is no query of that id, or no reply to show.
    """
    candidates = [judgement for judgement in judgements if judgement.order == "ab"]
    if wanted:
        candidates = [judgement for judgement in candidates if judgement.id == wanted]
    if not candidates:
        known = ", ".join(pair.id for pair in pairs[:5])
        raise MetricError(
            f"case: got {wanted!r}; allowed are the ids of the queries ({known}, ...)."
        )
    papers = {pair.id for pair in pairs if pair.query.startswith(_PAPER_CASE)}

    def rank(judgement: Judgement) -> tuple[bool, bool, float]:
        one, two = judgement.verdict.score1, judgement.verdict.score2
        margin = abs(one - two) if one is not None and two is not None else 0.0
        return judgement.verdict.parsed, judgement.id in papers, margin

    return max(candidates, key=rank)


def table9(case: Judgement, pair: Pair, names: tuple[str, str]) -> str:
    """Return one case as Markdown: query, and for each system its answer, comments and score."""
    parts = [f"# Case {pair.id}", f"**Query**\n\n{_quoted(pair.query)}"]
    answers = (pair.answer_a, pair.answer_b)
    for name, answer, (score, review) in zip(
        names, answers, (case.of("a"), case.of("b")), strict=True
    ):
        shown = "not found in the reply" if score is None else f"{score:g}"
        parts += [
            f"## {name}'s response",
            _quoted(answer),
            f"**Judge's comments**\n\n{_quoted(review or 'not found in the reply')}",
            f"**Judge's score:** {shown}",
        ]
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    # A block quote keeps headings and tables inside an answer from becoming the document's own.
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines()) or ">"
