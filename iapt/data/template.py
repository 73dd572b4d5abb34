"""Templates: from an example to the instruction that a backbone reads (Appendix D).

There are two templates, one inside the other: the task's (`Reference document: {passage} ...`) and the
backbone's system wrapper, whose only field is `{query}`. Values are inserted unchanged: braces in a
passage have no meaning.
"""

from dataclasses import dataclass

from iapt.errors import ConfigError
from iapt.tasks.base import Example
from iapt.tasks.fields import check_template, template_fields


@dataclass(frozen=True)
class Rendered:
    """The texts to encode: the whole instruction, wrapper included, and the response."""

    instruction: str
    response: str


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
    query = task_template.format_map(example.fields)
    instruction = system_template.format_map({"query": query})
    return Rendered(instruction=instruction, response=example.response)


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
