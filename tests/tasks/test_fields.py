"""Template fields."""

import pytest

from iapt.errors import ConfigError
from iapt.tasks.fields import check_template, template_fields


def test_fields_are_listed_in_order_with_repeats():
    assert template_fields("a {x} {{literal}} {y}{x}") == ("x", "y", "x")


@pytest.mark.parametrize("template", ["{0}", "{}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a-b}"])
def test_anything_but_a_plain_name_is_refused(template):
    with pytest.raises(ConfigError, match="is not a plain field name"):
        template_fields(template)


@pytest.mark.parametrize("template", ["{a", "a}", "{a}}"])
def test_unbalanced_braces_are_refused(template):
    with pytest.raises(ConfigError, match="A literal brace is written twice"):
        template_fields(template)


def test_a_template_must_ask_for_something_that_is_there():
    check_template("{a}", ("a", "b"))
    check_template("{anything}")
    with pytest.raises(ConfigError, match=r"asks for \{c\}; the fields are a, b"):
        check_template("{a}{c}", ("b", "a"))
    with pytest.raises(ConfigError, match=r"has no \{field\}"):
        check_template("{{a}}", ("a",))
