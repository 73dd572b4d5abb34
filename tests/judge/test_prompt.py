"""Appendix E's prompt letter for letter."""

from iapt.judge.prompt import PROMPT, build_prompt, numbered

# As printed in the paper (Appendix E), with the printed column's line breaks.
APPENDIX_E = """
Task Introduction
you will be given a query, and two responses from two assistants,
could you compare the two responses, and do the following:
(1) write a concise review for each assistant's response, on how well the response answers the query, and whether it will be helpful to humans users, and any issues in the response;
(2) assigns a quantitative score on a scale
of 10 to each response, reflecting
your assessment of the two responses
Query:
[query]
Response 1 from assistant 1:
[response1]
Response 2 from assistant 2:
[response2]
"""  # noqa: E501


def test_prompt_is_appendix_e_letter_for_letter() -> None:
    assert PROMPT.split() == APPENDIX_E.split()
    assert PROMPT.splitlines()[-6:] == [
        "Query:",
        "[query]",
        "Response 1 from assistant 1:",
        "[response1]",
        "Response 2 from assistant 2:",
        "[response2]",
    ]


def test_texts_fill_their_places_and_are_never_filled_themselves() -> None:
    prompt = build_prompt("Use [response2] and {braces}?", r"\1 [query]", "yes")

    assert "Query:\nUse [response2] and {braces}?\nResponse 1" in prompt
    assert "assistant 1:\n\\1 [query]\nResponse 2" in prompt
    assert prompt.endswith("assistant 2:\nyes")


def test_two_turns_are_numbered_and_one_is_not() -> None:
    assert numbered(["a", "b"]) == "Turn 1: a\n\nTurn 2: b"
    assert numbered(["a"]) == "a"
