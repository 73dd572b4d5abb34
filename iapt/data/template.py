"""Text with fields: from an example to the instruction a backbone reads (Appendix D).

Two templates are applied, one inside the other: the task's (`Reference document: {passage} ...`)
and the backbone's system wrapper, which has the one field `{query}`. Values are put in as they are:
braces in a passage mean nothing.
"""

from dataclasses import dataclass

from iapt.errors import ConfigError
from iapt.tasks.base import Example
from iapt.tasks.fields import check_template, template_fields


@dataclass(frozen=True)
class Rendered:
    """What is encoded: the whole instruction, wrapper included, and the text to produce."""

    instruction: str
    response: str


def render(example: Example, task_template: str, system_template: str) -> Rendered:
    """Fill both templates.

    Args:
        example: gives the fields and the response.
        task_template: text with `{fields}` of the example.
        system_template: text with exactly one `{query}`.

    Raises:
        ConfigError: a template asks for a field that is not there, or is malformed.
    """
    check_template(task_template, example.fields.keys())
    check_system_template(system_template)
    query = task_template.format_map(example.fields)
    instruction = system_template.format_map({"query": query})
    return Rendered(instruction=instruction, response=example.response)


def check_system_template(template: str) -> None:
    """Refuse a backbone's template that has not the one field `{query}`.

    Raises:
        ConfigError: it has none, another or more.
    """
    if template_fields(template) != ("query",):
        raise ConfigError(
            f"backbone.template={template!r}: needs the field {{query}} once and no other; "
            f"it has {', '.join(template_fields(template)) or 'none'}."
        )
