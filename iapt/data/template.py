"""Templates: from an example to the instruction that a backbone reads (Appendix D).

There are two templates, one inside the other: the task's (`Reference document: {passage} ...`) and the
backbone's system wrapper, whose only field is `{query}`. Values are inserted unchanged: braces in a
passage have no meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from iapt.errors import ConfigError
from iapt.tasks.base import Example
from iapt.tasks.fields import check_template, template_fields


@dataclass(frozen=True)
class Rendered:
    """The texts to encode.

    Attributes:
        instruction: the whole instruction, wrapper included.
        response: the text to learn.
        fields: the character spans of the instruction that the example's fields filled, in order.
    """

    instruction: str
    response: str
    fields: tuple[tuple[int, int], ...] = ()


def render(example: Example, task_template: str, system_template: str) -> Rendered:
    """Fill both templates.

    Args:
        example: gives the fields and the response.
        task_template: text with `{fields}` of the example.
        system_template: text with exactly one `{query}`.

    Raises:
        ConfigError: a template has an unknown field, or is malformed.
    """
    check_template(task_template, example.fields.keys())
    check_system_template(system_template)
    query, spans = _filled(task_template, example.fields)
    instruction, ((start, _),) = _filled(system_template, {"query": query})
    fields = tuple((start + begin, start + end) for begin, end in spans)
    return Rendered(instruction, example.response, fields)


def check_system_template(template: str) -> None:
    """Refuse a backbone's template whose fields are not exactly one `{query}`.

    Raises:
        ConfigError: it has no field, another one, or more than one.
    """
    if template_fields(template) != ("query",):
        raise ConfigError(
            f"backbone.template={template!r}: needs the field {{query}} once and no other; "
            f"it has {', '.join(template_fields(template)) or 'none'}."
        )


def _filled(template: str, values: Mapping[str, str]) -> tuple[str, list[tuple[int, int]]]:
    """Fill a template as `str.format_map` does; also return where the values are."""
    text, spans = "", []
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            spans.append((len(text), len(text) + len(values[name])))
            text += values[name]
    return text, spans
