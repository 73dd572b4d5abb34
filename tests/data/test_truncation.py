"""What does not fit: counted, named by file and line, refused where it would be most of a split."""

import pytest

from iapt.data.encode import Encoded
from iapt.data.truncation import check_most_fit, cut_line, cuts, fitting
from iapt.errors import ConfigError, DataError
from iapt.tasks.base import Example


def examples(n: int) -> list[Example]:
    return [Example(f"x/train/{i}", {}, "", ()) for i in range(n)]


def encoded(*sizes: int, cut: int = 0) -> list[Encoded]:
    return [Encoded((0,) * size, (1, 1), cut) for size in sizes]


def place(example: Example) -> str:
    return f"rows.jsonl, line {example.id[-1]}"


def test_responses_that_fit_are_all_taken():
    found = fitting(examples(3), encoded(1, 2, 3), 9, place, skip=False)
    assert (found.examples, found.encoded) == (examples(3), encoded(1, 2, 3))
    assert found.left_out == []


def test_a_response_that_does_not_fit_is_named_by_file_and_line():
    with pytest.raises(DataError) as caught:
        fitting(examples(4), encoded(1, 0, 3, 0), 9, place, skip=False)
    assert str(caught.value) == (
        "rows.jsonl, line 1: a response of 2 tokens leaves no room for its instruction in hparams.max_length=9 "
        "(2 of 4 rows of this split are too long). Raise it as far as the backbone's positions allow, or leave "
        "such rows out of training: hparams.on_long=skip."
    )


def test_skipping_leaves_out_the_rows_that_do_not_fit_and_only_those():
    found = fitting(examples(4), encoded(1, 0, 3, 0), 9, place, skip=True)
    assert [e.id for e in found.examples] == ["x/train/0", "x/train/2"]
    assert [e.id for e in found.left_out] == ["x/train/1", "x/train/3"]
    assert found.encoded == encoded(1, 3)


def test_a_split_of_which_nothing_fits_is_an_error_also_when_skipping():
    with pytest.raises(DataError, match=r"line 0: .* \(2 of 2 rows .*positions allow\.$"):
        fitting(examples(2), encoded(0, 0), 9, place, skip=True)


def test_cuts_are_told_with_their_number_their_place_and_their_size():
    some = [*encoded(5, 5, 5), *encoded(7, cut=1234), *encoded(7, cut=2)]
    assert cuts(some) == 2
    assert cut_line(some, 2048) == (
        "2 of 5 prompts cut to 2,048 tokens, in the middle of the longest field; at most 1,234 tokens lost"
    )
    assert cut_line(some, 9, "follow-ups").startswith("2 of 5 follow-ups cut to 9 tokens")
    assert cut_line(encoded(5, 5), 9) == ""


def test_a_length_that_cuts_at_most_half_of_each_split_is_accepted():
    half = [*encoded(8, 8, cut=1), *encoded(1, 1)]
    check_most_fit({"train": half, "dev": half, "test": half}, 10, 4, 100)


def lengths(*whole: int, at: int, answer: int = 2) -> list[Encoded]:
    """Prompts of these lengths with their answers, cut to `at`."""
    return [Encoded((0,) * (min(n, at) - answer), (1,) * answer, max(0, n - at)) for n in whole]


@pytest.mark.parametrize(
    ("whole", "least"), [((9, 20, 30), 20), ((9, 20, 30, 40), 30), ((20, 30), 30), ((20,), 20)]
)
def test_the_least_length_is_the_smallest_that_cuts_fewer_than_half(
    whole: tuple[int, ...], least: int
):
    train = lengths(*whole, at=10)
    with pytest.raises(
        ConfigError, match=rf"give at least hparams.max_length={least}\.$"
    ) as caught:
        check_most_fit({"train": train}, 10, 4, 100)
    cut = sum(n > 10 for n in whole)
    assert f"max_length=10: would cut {cut} of {len(whole)} train prompts, with" in str(
        caught.value
    )
    assert 2 * sum(n > least for n in whole) < len(whole) <= 2 * sum(n > least - 1 for n in whole)


def test_every_split_counts_and_a_prompt_to_answer_needs_room_for_the_longest_answer():
    short = lengths(5, 6, 7, at=10)
    test = [Encoded((0,) * 6, (1,), 14), Encoded((0,) * 6, (1,), 15)]  # instructions of 20 and 21
    with pytest.raises(ConfigError, match=r"would cut 2 of 2 test prompts.*hparams.max_length=25"):
        check_most_fit({"train": short, "dev": short, "test": test}, 10, 4, 100)
    with pytest.raises(ConfigError, match="1 of 1 train prompts and 2 of 2 test prompts"):
        check_most_fit({"train": lengths(12, at=10), "test": test}, 10, 4, 100)


def test_a_length_that_the_backbone_does_not_have_is_not_advised():
    with pytest.raises(ConfigError, match=r"From 20 on .*: the backbone reads at most 19; choose"):
        check_most_fit({"train": lengths(20, at=10)}, 10, 4, 19)
    with pytest.raises(ConfigError, match=r"From 20 on .*: give at least hparams.max_length=20\.$"):
        check_most_fit({"train": lengths(20, at=10)}, 10, 4, 20)
