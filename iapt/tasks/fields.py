"""The `{fields}` of a template."""

from collections.abc import Collection
from functools import lru_cache
from string import Formatter

from iapt.errors import ConfigError, closest


@lru_cache(maxsize=64)
def template_fields(template: str) -> tuple[str, ...]:
    """Return the field names of a template in order of appearance, repeats included.

    Only plain names are fields: `{passage}` is; `{passage.upper}`, `{0}`, `{passage!r}` and
    `{passage:>9}` are not.

    Raises:
        ConfigError: unbalanced braces, or a field that is not a plain name.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(
            f"template {template!r}: {error}. A literal brace is written twice: {{{{ or }}}}."
        ) from error
    names = []
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ConfigError(
                f"template {template!r}: {{{name}}} is not a plain field name such as {{question}}."
            )
        names.append(name)
    return tuple(names)


def check_template(template: str, available: Collection[str] | None = None) -> None:
    """Check that a task template has fields, and that all of them are available.

    Args:
        template: the task's template.
        available: the available fields; None if only the rows can tell.

    Raises:
        ConfigError: it has no field, or one that is malformed or not available.
    """
    asked = template_fields(template)
    unknown = [] if available is None else [name for name in asked if name not in available]
    if unknown and available is not None:
        raise ConfigError(
            f"task.template asks for {{{unknown[0]}}}; the fields are "
            f"{', '.join(sorted(available))}.{closest(unknown[0], available)}"
        )
    if not asked:
        raise ConfigError(
            f"task.template={template!r} has no {{field}}: the model would not see the row."
        )
