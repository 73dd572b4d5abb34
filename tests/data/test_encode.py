"""Examples to tokens to batches: where the border lies, what is cut, what is masked."""

import pytest
import torch

from iapt.backbone.tiny import tiny_tokenizer
from iapt.data.encode import IGNORE, Encoded, collate, encode
from iapt.data.template import Rendered, render
from iapt.tasks.base import Example

TOKENIZER = tiny_tokenizer()  # one token per byte
BOS, EOS, PAD = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.pad_token_id


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER(text, add_special_tokens=False).input_ids)


def test_both_sides_of_the_border_are_tokenised_apart():
    example = encode(Rendered("[INST] hello[/INST]", "yes"), TOKENIZER, 100, bos=True)
    assert example.instruction == (BOS, *ids("[INST] hello[/INST]"))
    assert example.response == (*ids("yes"), EOS)
    assert len(example) == len(example.instruction) + 4
    assert example.truncated == 0


def test_bos_is_put_once_or_not_at_all():
    assert encode(Rendered("text", "no"), TOKENIZER, 50, bos=True).instruction.count(BOS) == 1
    assert BOS not in encode(Rendered("text", "no"), TOKENIZER, 50, bos=False).instruction


def test_an_empty_response_is_its_end_token():
    assert encode(Rendered("text", ""), TOKENIZER, 50, bos=True).response == (EOS,)


def cut_to(max_length: int, fields: dict[str, str], bos: bool = True) -> Encoded:
    item = render(Example("x/0", fields, "yes", ("yes",)), "{p}? {q}!", "<{query}>")
    return encode(item, TOKENIZER, max_length, bos)


def text_of(example: Encoded) -> str:
    return TOKENIZER.decode(example.instruction, skip_special_tokens=True)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("lost", range(1, 20))
def test_a_cut_takes_the_middle_of_the_longest_field_and_nothing_else(lost: int, bos: bool):
    fields = {"p": "abcdefghijklmnopqrstuvwxyz", "q": "short"}
    whole = cut_to(100, fields, bos)
    example = cut_to(len(whole) - lost, fields, bos)
    assert (example.truncated, len(example)) == (lost, len(whole) - lost)
    assert example.response == whole.response == (*ids("yes"), EOS)
    head, tail = -(-(26 - lost) // 2), (26 - lost) // 2
    assert text_of(example) == f"<{fields['p'][:head]}{fields['p'][26 - tail :]}? short!>"
    assert example.instruction.count(BOS) == bos


def test_fields_that_are_both_long_are_cut_to_one_length():
    whole = cut_to(100, {"p": "abcdefghij", "q": "0123456789"})
    assert text_of(cut_to(len(whole) - 8, {"p": "abcdefghij", "q": "0123456789"})) == (
        "<abchij? 012789!>"
    )
    short = cut_to(len(whole) - 15, {"p": "abcdefghij", "q": "0123456789"})
    assert text_of(short) == "<aj? 09!>"
    assert short.truncated == len(whole) - len(short) == 16, "one more than asked, and counted"


def test_a_field_that_stands_twice_is_cut_in_both_places():
    item = render(Example("x/0", {"p": "abcdefgh"}, "", ()), "{p}+{p}", "{query}")
    assert text_of(encode(item, TOKENIZER, 10, bos=False)) == "abgh+abgh"


def test_a_prompt_of_one_field_keeps_its_beginning_and_its_end():
    item = render(Example("x/0", {"p": "question, text, question"}, "", ()), "{p}", "[{query}]")
    assert text_of(encode(item, TOKENIZER, 19, bos=False)) == "[questionquestion]"


def test_tokens_that_the_template_shares_with_a_field_stay():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<a"])
    item = render(Example("x/0", {"p": "abcdef"}, "", ()), "{p}", "<{query}>")
    example = encode(item, tokenizer, 5, bos=False)
    assert tokenizer.decode(example.instruction) == "<abf>"


@pytest.mark.parametrize("text", ["a € ü 🙂 b" * 3, "\u2028\n\t" * 9, "é" * 30])
def test_characters_of_several_tokens_are_cut_by_tokens(text: str):
    whole = cut_to(500, {"p": text, "q": "q"})
    example = cut_to(len(whole) - 11, {"p": text, "q": "q"})
    assert (example.truncated, len(example)) == (11, len(whole) - 11)
    assert text_of(example).startswith("<")
    assert text_of(example).endswith("? q!>")


def test_an_example_that_cannot_be_cut_enough_does_not_fit():
    fields = {"p": "abc", "q": "d"}
    templates = 1 + len("<? !>") + 4  # BOS, the templates' own tokens, the response
    least = cut_to(templates + 2, fields)
    assert least.fits
    assert text_of(least) == "<a? d!>"
    for too_short in (templates + 1, templates, 4, 1):
        assert not cut_to(too_short, fields).fits
        assert cut_to(too_short, fields).response == (*ids("yes"), EOS)
    assert not encode(Rendered("no fields at all", ""), TOKENIZER, 5, bos=True).fits


def test_a_batch_is_right_padded_and_says_what_is_what():
    batch = collate([Encoded((BOS, 5, 6), (7, EOS)), Encoded((BOS,), (8, 9, EOS))], PAD)
    assert batch.input_ids.tolist() == [[BOS, 5, 6, 7, EOS], [BOS, 8, 9, EOS, PAD]]
    assert batch.attention_mask.tolist() == [[True] * 5, [True] * 4 + [False]]
    assert batch.instruction_mask.tolist() == [[True] * 3 + [False] * 2, [True] + [False] * 4]
    assert batch.labels.tolist() == [
        [IGNORE, IGNORE, IGNORE, 7, EOS],
        [IGNORE, 8, 9, EOS, IGNORE],
    ]
    assert batch.input_ids.dtype == torch.long


def test_a_response_token_that_equals_the_pad_is_still_learnt():
    """LLaMA-2, GPT-2 and Pythia pad with their end token."""
    batch = collate([Encoded((BOS, 5), (6, EOS)), Encoded((BOS,), (EOS,))], pad_token_id=EOS)
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 6, EOS], [IGNORE, EOS, IGNORE, IGNORE]]
    assert batch.attention_mask.sum(1).tolist() == [4, 2]


def test_a_batch_moves_as_a_whole():
    moved = collate([Encoded((BOS,), (EOS,))], PAD).to(torch.device("meta"))
    for name in ("input_ids", "attention_mask", "instruction_mask", "labels"):
        assert getattr(moved, name).device.type == "meta"
