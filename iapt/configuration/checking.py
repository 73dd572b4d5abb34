"""Validation with pydantic, and error messages in our words: field, value, what is allowed, nearest match.

Values are checked strictly, as JSON, because configurations, rows and saved files contain nothing else.  A
list may become a tuple, but text never becomes a number, true is not 1, and every number is finite.
"""

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, ErrorDetails

from iapt.errors import ConfigError, closest

T = TypeVar("T")
Schema = Mapping[str, Any]
Step = str | int

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

MOST = 2**31  # no step, example or token is beyond


def _countable(number: int) -> int:
    if number > MOST:
        raise ValueError(f"must be at most {MOST}")
    return number


Count = Annotated[int, Field(ge=1), AfterValidator(_countable)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
# A part of the name of a run's folder and row, so it must suit every file system.
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

# Without a schema: what is allowed, by the kind of pydantic's error without its suffix.
_ALLOWED = {
    "bool": "true or false",
    "datetime": "a time in ISO 8601, such as 2026-01-31T09:00:00Z",
    "datetime_from_date": "a time in ISO 8601, such as 2026-01-31T09:00:00Z",
    "dict": "a mapping",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of reasonable size",
    "invalid-json-value": "a value that JSON can hold",
    "list": "a list",
    "mapping": "a mapping",
    "model": "a mapping",
    "none_required": "null",
    "string": "text",
    "string_too_short": "text that is not empty",
    "tuple": "a list",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")


def checked(kind: "type[T] | TypeAdapter[T]", values: object, where: str = "") -> T:
    """Build `kind` from plain values.

    Args:
        kind: a pydantic model or dataclass, or an adapter of any annotation.
        values: JSON values.
        where: the name of the values, such as "hparams", which begins each message.

    Raises:
        ConfigError: listing every fault, one per line.
    """
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError("\n".join(faults(error, where, adapter, values))) from None


def faults(
    error: ValidationError,
    where: str = "",
    model: "type[Any] | TypeAdapter[Any] | None" = None,
    values: object = None,
) -> list[str]:
    """Describe the faults that a validation found, one line per field.

    Args:
        error: what pydantic raised.
        where: the prefix of each field, such as ``hparams`` or ``iapt.yaml: hparams``.
        model: the model that validated; with it a line lists everything that its field allows, and an
            unknown key gets its nearest match.
        values: the validated values; with them a line shows the whole value of its field.

    Returns:
        Lines such as ``hparams.lr=-1: must be a positive number.``
    """
    schema = _schema_of(model)
    found: dict[tuple[Step, ...], str] = {}
    for fault in error.errors(include_url=False):
        path, part = _place(schema, fault["loc"])
        if fault["type"] in _UNKNOWN and fault["loc"] != path:
            path = (*path, fault["loc"][-1])
        value = fault["input"] if values is None else _at(values, path)
        name = ".".join(filter(None, [where, *map(named, path)]))
        found.setdefault(path, _line(name, value, fault, part, schema))
    return list(found.values())


def short(value: object) -> str:
    """Shorten a value for an error message: about 60 characters at most, control characters escaped."""
    form = reprlib.Repr()
    form.maxstring = form.maxother = form.maxlong = 60
    form.maxlevel = 2
    try:
        return form.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"a {type(value).__name__} too long to print"


def named(step: Step) -> str:
    """Return a key or another name from a file as it is, unless it is empty, long or not printable."""
    plain = isinstance(step, int) or (step.isprintable() and 0 < len(step) < 60)
    return str(step) if plain else short(step)


def allowed_by(part: Schema, schema: Schema) -> str:
    """Put into words what a part of a JSON schema allows, such as "a whole number >= 1 or null"."""
    part = _resolved(part, schema)
    if "allowed" in part:
        return str(part["allowed"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(allowed_by(each, schema) for each in part["anyOf"]))
    if choices := _choices(part):
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    kind = part.get("type")
    if kind in ("integer", "number"):
        signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        limits = [f"{sign} {part[key]}" for key, sign in signs.items() if key in part]
        if kind == "number" and limits == ["> 0"]:
            return "a positive number"
        noun = "a whole number" if kind == "integer" else "a number"
        return " ".join([noun, " and ".join(limits)]).strip()
    if kind == "object" and part.get("properties"):
        return f"a mapping with {', '.join(part['properties'])}"
    if part.get("format") == "date-time":
        return _ALLOWED["datetime"]
    if kind == "string" and part.get("minLength"):
        return "text that is not empty"
    words = {"boolean": "true or false", "string": "text", "array": "a list", "object": "a mapping"}
    return words.get(str(kind), str(kind))


def _line(name: str, value: object, fault: ErrorDetails, part: Schema, schema: Schema) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    shown = "" if isinstance(value, Mapping) else f"={short(value)}" if name else short(value)
    if kind in _UNKNOWN:
        known = [key for each in _members(part, schema) for key in each.get("properties", {})]
        allowed = f"; allowed are {', '.join(known) or 'none'}" if schema else ""
        return f"{name}: unknown{allowed}.{closest(str(fault['loc'][-1]), known)}"
    if kind in _MISSING:
        return f"{name}: missing{f'; it must be {allowed_by(part, schema)}' if part else ''}."
    if kind in ("value_error", "assertion_error"):
        words = str(context["error"]).rstrip(".")
        # A validator of several fields names the wrong one itself.
        inner = isinstance(value, Mapping) and re.match(r"[\w.]+[=:]", words)
        return f"{name}{'.' if inner and name else '' if inner else f'{shown}: '}{words}."
    if kind == "json_invalid":
        return ": ".join(filter(None, [name, f"not readable as JSON ({context['error']})."]))
    if (choices := _choices(part)) and len(choices) > 1:
        return f"{name}{shown}: allowed are {', '.join(choices)}.{closest(str(value), choices)}"
    if part and {"type", "anyOf", "const", "allowed"} & set(part):
        finite = ", and finite" if kind == "finite_number" else ""
        return f"{name}{shown}: must be {allowed_by(part, schema)}{finite}."
    if kind in ("literal_error", "enum"):
        near = closest(str(value), re.findall(r"'([^']*)'", context["expected"]))
        return f"{name}{shown}: must be {context['expected']}.{near}"
    plain = _ALLOWED.get(kind) or _ALLOWED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    words = re.sub(r"^.* should (be|have) ", lambda match: f"must {match[1]} ", fault["msg"])
    return f"{name}{shown}: {f'must be {plain}' if plain else words}."


def _schema_of(model: "type[Any] | TypeAdapter[Any] | None") -> Schema:
    if model is None:
        return {}
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    return adapter.json_schema(schema_generator=_Lenient)


class _Lenient(GenerateJsonSchema):
    """Describes JSON values, and skips everything else, such as an instance of a class."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> dict[str, Any]:
        return {"allowed": "another value"}


def _place(schema: Schema, location: Sequence[Step]) -> tuple[tuple[Step, ...], Schema]:
    """Follow an error's location into a schema, until it names a member of a union instead of a field."""
    if not schema:
        return tuple(location), {}
    part, path = _resolved(schema, schema), list[Step]()
    for step in location:
        inner = _inner(part, step, schema)
        if inner is None:
            break
        part = _resolved(inner, schema)
        path.append(step)
    return tuple(path), part


def _inner(part: Schema, step: Step, schema: Schema) -> Schema | None:
    """Return the schema one step below."""
    for each in _members(part, schema):
        if isinstance(step, int):
            found = each.get("items")
        else:
            found = each.get("properties", {}).get(step) or each.get("additionalProperties")
        if isinstance(found, Mapping):
            return found
    return None


def _members(part: Schema, schema: Schema) -> list[Schema]:
    """Return the schema itself, or its only member other than null; a wider union has no fields."""
    members = [_resolved(p, schema) for p in part.get("anyOf", ()) if p.get("type") != "null"]
    return [part] if not members else members if len(members) == 1 else []


def _resolved(part: Schema, schema: Schema) -> Schema:
    if "$ref" in part:
        target = schema["$defs"][part["$ref"].rpartition("/")[2]]
        return {**target, **{k: v for k, v in part.items() if k != "$ref"}}
    return part


def _choices(part: Schema) -> list[str]:
    if "const" in part:
        return [str(part["const"])]
    if "enum" in part:
        return [str(each) for each in part["enum"]]
    members = part.get("anyOf", ())
    if members and all(_choices(each) or each.get("type") == "null" for each in members):
        return [choice for each in members for choice in _choices(each) or ["null"]]
    return []


def _at(values: Any, path: Sequence[Step]) -> Any:
    for step in path:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return values
    return values
