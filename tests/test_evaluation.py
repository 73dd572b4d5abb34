"""From examples to a score: what is encoded, what is asked of the decoder, what is parsed and scored."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from iapt import evaluation
from iapt.backbone.tiny import tiny_tokenizer
from iapt.data.encode import encode
from iapt.data.template import render
from iapt.data.tokens import Tokens
from iapt.errors import ConfigError
from iapt.evaluation import Evaluation, clusters, encode_to_decode, encode_to_learn, evaluate
from iapt.tasks.base import Example, Scores

TOKENIZER = tiny_tokenizer()
TOKENS = Tokens(TOKENIZER, "[{query}]", True, 40)


def example(text: str, response: str = "yes") -> Example:
    return Example(text, {"text": text}, response, (response,))


class Chat:
    """A task with a second turn for each first one; an answer counts as parsed if it is in capitals."""

    template = "Q {text}"
    max_new_tokens = 3

    def __init__(self, turns: int = 2) -> None:
        self.turns = turns
        self.scored: list[tuple[str | None, str]] = []  # by the call with all examples

    def cluster_of(self, example: Example) -> str | None:
        return example.id.partition(">")[0] if self.turns == 2 else None

    def follow_ups(self, examples: Sequence[Example], outputs: Sequence[str]) -> list[Example]:
        if self.turns == 1:
            return []
        return [example(f"{e.id}>{output}") for e, output in zip(examples, outputs, strict=True)]

    def parse(self, output: str, example: Example) -> str | None:
        return f"{output} to {example.id}" if output.isupper() else None

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        self.scored = self.scored or [(p, e.id) for p, e in zip(parsed, examples, strict=True)]
        right = [100.0 * (p is not None) for p in parsed]
        return Scores("acc", fmean(right), len(examples), 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked of the decoder, which answers "A", "b", "C", ... and tells of each answer."""
    calls: list[dict[str, Any]] = []
    answers = iter("AbCdEf")

    def answer(
        backbone: Any,
        instructions: Sequence[Sequence[int]],
        tokenizer: Any,
        *,
        on_batch: Callable[[int], None],
        **numbers: Any,
    ) -> list[str]:
        texts = [TOKENIZER.decode(ids, skip_special_tokens=True) for ids in instructions]
        calls.append({"backbone": backbone, "texts": texts, "tokenizer": tokenizer, **numbers})
        for _ in instructions:
            on_batch(1)
        return [next(answers) for _ in instructions]

    monkeypatch.setattr(evaluation, "decode", answer)
    return calls


def evaluated(task: Chat, texts: Sequence[str]) -> Evaluation:
    examples = [example(text) for text in texts]
    encoded = encode_to_decode(task.template, examples, TOKENS, task.max_new_tokens)
    return evaluate(task, examples, encoded, "B", TOKENS, num_beams=5, batch_tokens=77)  # type: ignore[arg-type]


def test_what_is_learnt_is_the_whole_prompt_and_the_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path))
    examples = [example("one"), example("a longer one that is cut" * 2, "no")]
    found = encode_to_learn(Chat(), examples, TOKENS)  # type: ignore[arg-type]
    assert found == [
        encode(render(e, "Q {text}", "[{query}]"), TOKENIZER, TOKENS.max_length, True)
        for e in examples
    ]
    assert [e.truncated > 0 for e in found] == [False, True]
    assert len(list((tmp_path / "tokens").iterdir())) == 1, "kept for the next seed"
    assert encode_to_learn(Chat(), examples, TOKENS) == found  # type: ignore[arg-type]


def test_a_prompt_leaves_room_for_the_longest_answer_and_holds_no_gold_one():
    few, many = (
        encode_to_decode("Q {text}", [example("x" * 60, "a gold answer")], TOKENS, room)
        for room in (3, 30)
    )
    for (found,), room in ((few, 3), (many, 30)):
        assert len(found.instruction) == TOKENS.max_length - room
        assert found.response == (TOKENIZER.eos_token_id,)
        assert found.instruction[0] == TOKENIZER.bos_token_id
    without = Tokens(TOKENIZER, "[{query}]", False, 40)
    (bare,) = encode_to_decode("Q {text}", [example("x")], without, 3)
    assert TOKENIZER.decode(bare.instruction) == "[Q x]"


def test_a_prompt_without_room_and_an_empty_one_are_named():
    with pytest.raises(ConfigError, match=r"one: max_new_tokens=36 leaves 4 of 40 tokens for"):
        encode_to_decode("Q {text}", [example("one")], TOKENS, 36)
    bare = Tokens(TOKENIZER, "{query}", False, 40)
    with pytest.raises(ConfigError, match="0: the prompt is empty"):
        encode_to_decode("{text}", [Example("0", {"text": ""}, "", ())], bare, 3)


def test_answers_are_parsed_and_scored_each_with_its_example(asked: list[dict[str, Any]]):
    task = Chat(turns=1)
    found = evaluated(task, ["one", "two", "three"])
    assert [call["texts"] for call in asked] == [["[Q one]", "[Q two]", "[Q three]"]]
    assert found.outputs == ["A", "b", "C"]
    assert found.parsed == ["A to one", None, "C to three"]
    assert task.scored == [("A to one", "one"), (None, "two"), ("C to three", "three")]
    assert found.scores == Scores("acc", 200 / 3, 3, 0)
    assert found.items == (100.0, 0.0, 100.0)
    assert found.clusters == (), "all are independent"


def test_what_follows_from_the_answers_is_asked_and_scored_too(asked: list[dict[str, Any]]):
    task = Chat()
    found = evaluated(task, ["one", "two"])
    assert [call["texts"] for call in asked] == [["[Q one]", "[Q two]"], ["[Q one>A]", "[Q two>b]"]]
    assert [e.id for e in found.examples] == ["one", "two", "one>A", "two>b"]
    assert [e.truncated for e in found.further] == [0, 0]
    assert found.outputs == ["A", "b", "C", "d"]
    assert task.scored == [
        ("A to one", "one"),
        (None, "two"),
        ("C to one>A", "one>A"),
        (None, "two>b"),
    ]
    assert found.clusters == (0, 1, 0, 1), "the turns of one conversation"


class Several(Chat):
    """A metric over several answers at once, as BLEU is."""

    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        if len(parsed) < 2:
            raise ZeroDivisionError
        return Scores("bleu", 40.0, len(examples), 0)


class Squared(Chat):
    def score(self, parsed: Sequence[str | None], examples: Sequence[Example]) -> Scores:
        return Scores("x", 100 * fmean(p is not None for p in parsed) ** 2, len(examples), 0)


@pytest.mark.parametrize("task", [Several(1), Squared(1)])
def test_a_metric_that_is_no_mean_over_examples_has_no_score_of_each(
    task: Chat, asked: list[dict[str, Any]], tmp_path: Path
):
    found = evaluated(task, ["one", "two", "three"])
    assert found.items == ()
    found.write_predictions(tmp_path / "predictions.jsonl")
    assert (tmp_path / "predictions.jsonl").read_text().count('"score": null') == 3


def test_an_example_that_shares_nothing_is_a_cluster_of_its_own():
    class Passages(Chat):
        def cluster_of(self, example: Example) -> str | None:
            return example.fields["text"] if example.fields["text"] != "alone" else None

    examples = [example(text) for text in ("alone", "p", "q", "alone", "p")]
    assert clusters(Passages(), examples) == (0, 1, 2, 3, 1)  # type: ignore[arg-type]


def test_a_further_turn_that_is_cut_is_known(asked: list[dict[str, Any]]):
    found = evaluated(Chat(), ["one", "x" * 32])
    assert [e.truncated for e in found.further] == [0, 2]
    assert asked[1]["texts"][1] == f"[Q {'x' * 30}>b]"


def test_every_turn_is_decoded_with_the_numbers_given_and_shown(
    asked: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    evaluated(Chat(), ["one", "two"])
    for call in asked:
        assert call["backbone"] == "B"
        assert call["tokenizer"] is TOKENIZER
        assert (call["num_beams"], call["max_new_tokens"], call["batch_tokens"]) == (5, 3, 77)
    assert len(asked) == 2
    assert capsys.readouterr().err.count("decoding: 100%") == 2


def test_the_examples_given_stay_as_they_are(asked: list[dict[str, Any]]):
    examples = [example("one")]
    encoded = encode_to_decode("Q {text}", examples, TOKENS, 3)
    evaluate(Chat(), examples, encoded, "B", TOKENS, num_beams=1, batch_tokens=9)  # type: ignore[arg-type]
    assert len(examples) == 1


def test_a_line_of_predictions_has_the_output_what_was_found_in_it_and_the_references(
    tmp_path: Path,
):
    examples = [example("one"), example("two", "no")]
    found = Evaluation(
        examples,
        ["Is it?", "Or not?"],
        ["Yes.", "?"],
        ["yes", None],
        Scores("acc", 50.0, 2, 1),
        (100.0, 0.0),
        (),
    )
    found.write_predictions(tmp_path / "predictions.jsonl")
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "one", "instruction": "Is it?"}
        | {"output": "Yes.", "parsed": "yes", "references": ["yes"], "score": 100.0},
        {"id": "two", "instruction": "Or not?"}
        | {"output": "?", "parsed": None, "references": ["no"], "score": 0.0},
    ]


@pytest.mark.parametrize("step", ["parse", "score"])
def test_what_was_decoded_is_kept_where_scoring_it_fails(
    step: str,
    asked: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def fails(*_: Any) -> None:
        raise ValueError("no score")

    file, task, examples = tmp_path / "predictions.jsonl", Chat(1), [example("one")]
    encoded = encode_to_decode(task.template, examples, TOKENS, 3)
    numbers: Any = {"num_beams": 1, "batch_tokens": 9, "predictions": file}
    evaluate(task, examples, encoded, "B", TOKENS, **numbers)  # type: ignore[arg-type]
    line = {"id": "one", "instruction": "Q one", "output": "A", "references": ["yes"]}
    assert json.loads(file.read_text()) == line | {"parsed": "A to one", "score": 100.0}
    monkeypatch.setattr(Chat, step, fails)
    with pytest.raises(ValueError, match="no score"):
        evaluate(task, examples, encoded, "B", TOKENS, **numbers)  # type: ignore[arg-type]
    assert json.loads(file.read_text()) == line | {"output": "b"}


def test_predictions_that_miss_an_example_are_not_written_as_if_whole(tmp_path: Path):
    found = Evaluation(
        [example("one")], ["Is it?"], ["Yes."], [], Scores("acc", 50.0, 1, 0), (100.0,), ()
    )
    with pytest.raises(ValueError, match="shorter"):
        found.write_predictions(tmp_path / "predictions.jsonl")
    assert not list(tmp_path.iterdir())
