"""Examples to tokens to batches: where the border lies, what is cut, what is masked."""

import pytest
import torch

from iapt.backbone.tiny import tiny_tokenizer
from iapt.data.encode import IGNORE, Encoded, collate, encode

TOKENIZER = tiny_tokenizer()  # one token per byte
BOS, EOS, PAD = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.pad_token_id


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER(text, add_special_tokens=False).input_ids)


def test_both_sides_of_the_border_are_tokenised_apart():
    example = encode("[INST] hello[/INST]", "yes", TOKENIZER, 100, bos=True)
    assert example.instruction == (BOS, *ids("[INST] hello[/INST]"))
    assert example.response == (*ids("yes"), EOS)
    assert len(example) == len(example.instruction) + 4
    assert example.truncated == 0


def test_bos_is_put_once_or_not_at_all():
    assert encode("text", "no", TOKENIZER, 50, bos=True).instruction.count(BOS) == 1
    assert BOS not in encode("text", "no", TOKENIZER, 50, bos=False).instruction


def test_an_empty_response_is_its_end_token():
    assert encode("text", "", TOKENIZER, 50, bos=True).response == (EOS,)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("max_length", range(6, 16))
def test_truncation_spares_bos_the_tail_and_the_response(max_length: int, bos: bool):
    text, answer = "abcdefgh", "yes"
    example = encode(text, answer, TOKENIZER, max_length, bos)
    front = (BOS,) if bos else ()
    assert example.response == (*ids(answer), EOS)
    assert len(example) <= max_length
    assert example.instruction == front + ids(text)[example.truncated :]
    needed = len(front) + len(text) + 4
    assert example.truncated == max(0, needed - max_length)


def test_a_response_without_room_for_an_instruction_is_an_error():
    with pytest.raises(ValueError, match=r"response of 4 tokens leaves no room .* in 5"):
        encode("text", "yes", TOKENIZER, 5, bos=True)
    assert encode("text", "yes", TOKENIZER, 6, bos=True).truncated == 3


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
