"""Prompts with their token borders."""

import pytest

from iapt.backbone.tiny import tiny_tokenizer
from iapt.data.preview import Tokens, preview
from iapt.tasks.classification import Classification


class Rows:
    name = "rows"

    def rows(self, dataset, split):
        return [{"text": text, "label": 1} for text in ("ab", "abc", "abcdefghij")]

    def fingerprint(self, dataset):
        return ""

    def at(self, folder):
        return self

    def place(self, dataset, split, row):
        return f"line {row + 1}"


@pytest.fixture
def task():
    return Classification(
        name="toy",
        dataset="toy",
        template="{text}?",
        fields={"text": "text"},
        labels=["no", "yes"],
        split={"rule": "official"},
        max_new_tokens=2,
    )


def test_borders_lengths_and_truncations_are_shown(task):
    tokens = Tokens(tiny_tokenizer(), "<{query}>", bos=False, max_length=12)
    text = preview(task, Rows(), tokens, "train", 2)
    assert "[1] toy/train/0: 5 + 4 tokens\n<·a·b·?·> ‖ y·e·s·</s>" in text
    assert "[2]" in text
    assert "[3]" not in text
    assert "toy/train from 'rows': 3 examples" in text
    assert "min 5, median 6, 95 % 8, max 8 tokens" in text
    assert "1 instructions do not fit in 12 tokens" in text
    assert "3 responses are longer than max_new_tokens=2" in text


def test_the_end_token_does_not_make_a_response_too_long(task):
    tokens = Tokens(tiny_tokenizer(), "<{query}>", bos=False, max_length=12)
    task.max_new_tokens = 3  # "yes" is three tokens
    assert "0 responses are longer than" in preview(task, Rows(), tokens, "train", 0)


def test_responses_without_room_for_an_instruction_are_counted(task):
    tokens = Tokens(tiny_tokenizer(), "<{query}>", bos=False, max_length=7)
    text = preview(task, Rows(), tokens, "train", 1)
    assert "[1] toy/train/0: 0 + 4 tokens, no room" in text
    assert "0 instructions do not fit in 7 tokens" in text
    assert "3 responses leave no room for an instruction" in text
