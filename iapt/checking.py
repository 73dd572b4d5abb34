"""What pydantic finds wrong with a value, in our words: field, value, what is allowed, the nearest match.

Values are checked as JSON, strictly: configurations, rows and saved files hold nothing else.  A list may
become a tuple, but no text becomes a number, true is not 1, and every number is finite.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from iapt.errors import ConfigError, closest

T = TypeVar("T")
Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1, json_schema_extra={"allowed": "text"})]
# Part of the name of a run's folder and row, and so of nothing that a file system refuses.
Name = Annotated[
    str,
    Field(
        pattern=r"^[\p{L}\p{N}][\p{L}\p{M}\p{N}._+-]*$",
        max_length=60,
        json_schema_extra={
            "allowed": "a name for files: letters, digits, '_', '-', '+' and '.', the first a letter or "
            "digit, at most 60 in all"
        },
    ),
]


def checked(kind: "type[T] | TypeAdapter[T]", values: object, where: str = "") -> T:
    """Build `kind` from plain values.

    Args:
        kind: a pydantic model or dataclass, or an adapter of any annotation.
        values: what JSON can hold.
        where: name of the values, such as "hparams", that faults begin with.

    Raises:
        ConfigError: with every fault, one a line.
    """
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError("\n".join(faults(error, where, adapter.json_schema(), values))) from None


def faults(
    error: ValidationError, where: str, schema: Schema | None = None, values: object = None
) -> list[str]:
    """Say what is wrong, one line for each field.

    Args:
        error: as pydantic raised it.
        where: name of the values; the fields' names follow it behind a dot.
        schema: JSON schema of what was checked; with it a line says everything that is allowed.
        values: what was checked; with it a line has the whole value of its field.
    """
    found: dict[Path, str] = {}
    for each in error.errors():
        path, part = _descend(schema, each["loc"]) if schema else (each["loc"], {})
        name = ".".join(str(p) for p in (where, *path) if p != "")
        value = each["input"] if values is None else _at(values, path)
        text = f"{name}={_shown(value)}" if name else _shown(value)
        if (
            each["type"] == "value_error"
        ):  # a validator's own words; of several fields, it names them
            before = f"{name}." if isinstance(value, Mapping) else f"{text}: "
            line = f"{before if name else ''}{each['ctx']['error']}"
        elif each["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = list(part.get("properties", {}))
            key = str(each["loc"][-1])
            allowed = f"; allowed are {', '.join(known) or 'none'}" if schema else ""
            line = f"{'.'.join(filter(None, (name, key)))}: unknown{allowed}.{closest(key, known)}"
            path = (*path, key)
        elif each["type"] in ("missing", "missing_argument"):
            line = f"{name}: missing; it must be {allowed_by(part, schema)}."
            if not part:
                line = f"{name}: missing."
        elif choices := _choices(part):
            line = f"{text}: allowed are {', '.join(choices)}.{closest(str(value), choices)}"
        elif part:
            finite = ", and finite" if each["type"] == "finite_number" else ""
            line = f"{text}: must be {allowed_by(part, schema)}{finite}."
        else:
            line = f"{text}: {each['msg'][0].lower()}{each['msg'][1:]}."
        found.setdefault(path, line)
    return list(found.values())


def allowed_by(part: Schema, schema: Schema | None = None) -> str:
    """Say in words what a JSON schema allows, such as "a whole number >= 1 or null"."""
    part = _resolved(part, schema)
    if "allowed" in part:
        return str(part["allowed"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(allowed_by(each, schema) for each in part["anyOf"]))
    if choices := _choices(part):
        return f"one of {', '.join(choices)}"
    kind = part.get("type")
    if kind in ("integer", "number"):
        limits = [
            f"{sign} {part[key]:g}" if isinstance(part[key], float) else f"{sign} {part[key]}"
            for key, sign in (
                ("minimum", ">="),
                ("exclusiveMinimum", ">"),
                ("maximum", "<="),
                ("exclusiveMaximum", "<"),
            )
            if key in part
        ]
        if kind == "number" and limits == ["> 0"]:
            return "a positive number"
        noun = "a whole number" if kind == "integer" else "a number"
        return " ".join([noun, " and ".join(limits)]).strip()
    if kind == "object" and part.get("properties"):
        return f"a mapping with {', '.join(part['properties'])}"
    words = {
        "boolean": "true or false",
        "string": "text",
        "null": "null",
        "array": "a list",
        "object": "a mapping",
    }
    return words.get(str(kind), "another value")


def _descend(schema: Schema, loc: Sequence[str | int]) -> tuple[Path, Schema]:
    """Follow an error's location into the schema, as far as it names fields and not branches of a union."""
    part, path = _resolved(schema, schema), []
    for step in loc:
        inner = part.get("properties", {}).get(step) if isinstance(step, str) else part.get("items")
        if inner is None and isinstance(part.get("additionalProperties"), Mapping):
            inner = part["additionalProperties"]
        if inner is None:
            break
        part = _resolved(inner, schema)
        path.append(step)
    return tuple(path), part


def _resolved(part: Schema, schema: Schema | None) -> Schema:
    if "$ref" in part and schema is not None:
        target = schema["$defs"][part["$ref"].rpartition("/")[2]]
        return {**target, **{k: v for k, v in part.items() if k != "$ref"}}
    return part


def _choices(part: Schema) -> list[str]:
    if "const" in part:
        return [str(part["const"])]
    if "enum" in part:
        return [str(each) for each in part["enum"]]
    if "anyOf" in part and all(
        _choices(each) or each.get("type") == "null" for each in part["anyOf"]
    ):
        return [c for each in part["anyOf"] for c in _choices(each) or ["null"]]
    return []


def _at(values: Any, path: Path) -> Any:
    for step in path:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return values
    return values


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:70]}[...]"
