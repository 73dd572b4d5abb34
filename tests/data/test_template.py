"""Rendering: fields go in as they are, whatever they contain."""

import pytest

from iapt.data.template import render
from iapt.errors import ConfigError
from iapt.tasks.base import Example


def example(**fields):
    return Example("x/0", fields, "yes", ("yes",))


def test_both_templates_are_filled():
    rendered = render(example(a="A", b="B"), "{b} and {a}", "<{query}>")
    assert (rendered.instruction, rendered.response) == ("<B and A>", "yes")


@pytest.mark.parametrize(
    "text", ["{query}", "{b}", "{}", "{0.__class__}", "}{", "{{x}}", "%s \\n $a"]
)
def test_braces_in_a_field_mean_nothing(text):
    assert render(example(a=text, b="B"), "[{a}]", "<{query}>").instruction == f"<[{text}]>"


def test_doubled_braces_in_a_template_are_literal():
    assert render(example(a="A"), "{{{a}}}", "{{}}{query}").instruction == "{}{A}"


@pytest.mark.parametrize(
    ("task", "system", "message"),
    [
        ("{c}", "{query}", r"task.template asks for \{c\}; the fields are a, b"),
        ("none", "{query}", r"has no \{field\}"),
        ("{a}", "no query", "needs the field {query} once and no other; it has none"),
        ("{a}", "{query}{query}", "it has query, query"),
        ("{a}", "{qeury}", "it has qeury"),
        ("{a}", "{query", "A literal brace is written twice"),
    ],
)
def test_a_template_that_does_not_fit_is_named(task, system, message):
    with pytest.raises(ConfigError, match=message):
        render(example(a="A", b="B"), task, system)
