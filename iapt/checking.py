"""What pydantic finds wrong, in this package's words: field, value, what is allowed, the nearest match."""

import re
import reprlib
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from iapt.errors import closest

Step = str | int

_ALLOWED = {
    "bool": "true or false",
    "datetime": "a time in ISO 8601, such as 2026-01-31T09:00:00Z",
    "datetime_from_date": "a time in ISO 8601, such as 2026-01-31T09:00:00Z",
    "dict": "a mapping",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of sane size",
    "invalid-json-value": "a value that JSON can hold",
    "list": "a list",
    "mapping": "a mapping",
    "model": "a mapping",
    "none_required": "null",
    "string": "text",
    "string_too_short": "text that is not empty",
    "tuple": "a list",
}


def faults(
    error: ValidationError, where: str = "", model: type[BaseModel] | None = None
) -> list[str]:
    """Say what a validation found, one line for each field.

    Args:
        error: what pydantic raised.
        where: what stands before each field, such as ``hparams`` or ``iapt.yaml: hparams``.
        model: the model that was validated; with it an unknown key gets its nearest match, and a
            field that may be null says so.

    Returns:
        Lines such as ``hparams.lr=-1: must be greater than 0.``
    """
    found: dict[tuple[Step, ...], ErrorDetails] = {}
    allowed: dict[tuple[Step, ...], list[str]] = {}
    for fault in error.errors(include_url=False):
        path, owner, annotation = _place(fault["loc"], model)
        if fault["type"] == "extra_forbidden":
            known = list(owner.model_fields) if owner else []
            text = f"unknown; allowed are {', '.join(known)}" if known else "unknown"
            text += "." + closest(str(path[-1]), known)
        elif fault["type"] == "missing":
            text = "missing."
        else:
            text = _allowed(fault)
            if NoneType in get_args(annotation):
                text += " or null"
        found.setdefault(path, fault)
        texts = allowed.setdefault(path, [])
        texts += [text] if text not in texts else []
    return [_line(where, path, fault, allowed[path]) for path, fault in found.items()]


def short(value: object) -> str:
    """A value for an error message: at most about 60 characters, control characters escaped."""
    form = reprlib.Repr()
    form.maxstring = form.maxother = form.maxlong = 60
    form.maxlevel = 2
    try:
        return form.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"a {type(value).__name__} too long to print"


def _line(where: str, path: Sequence[Step], fault: ErrorDetails, texts: Sequence[str]) -> str:
    name = ".".join(filter(None, [where, *(_step(step) for step in path)]))
    if fault["type"] in ("extra_forbidden", "missing"):
        return f"{name}: {texts[0]}"
    if fault["type"] == "json_invalid":
        return f"{name}: {texts[0]}." if name else f"{texts[0]}."
    value = fault["input"]
    text = " or ".join([texts[0], *(text.removeprefix("must be ") for text in texts[1:])])
    shown = "" if isinstance(value, Mapping) else f"={short(value)}"
    return f"{name}{shown}".removeprefix("=") + f": {text.rstrip('.')}." + _nearest(fault)


def _step(step: Step) -> str:
    """One step of a path; names come from a file and may hold anything."""
    return (
        str(step)
        if isinstance(step, int) or (step.isprintable() and len(step) < 60)
        else short(step)
    )


def _allowed(fault: ErrorDetails) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind == "json_invalid":
        return f"not readable as JSON ({context['error']})"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    words = _ALLOWED.get(kind) or _ALLOWED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    if words:
        return f"must be {words}"
    return re.sub(r"^.* should (be|have) ", lambda match: f"must {match[1]} ", fault["msg"])


def _nearest(fault: ErrorDetails) -> str:
    if fault["type"] not in ("literal_error", "enum") or not isinstance(fault["input"], str):
        return ""
    return closest(fault["input"], re.findall(r"'([^']*)'", fault["ctx"]["expected"]))


def _place(
    location: Sequence[Step], model: type[BaseModel] | None
) -> tuple[tuple[Step, ...], type[BaseModel] | None, Any]:
    """Follow a location through a model.

    Returns:
        The path without pydantic's names for the members of a union, the model that holds its last
        step, and the annotation there.
    """
    path: list[Step] = []
    owner: type[BaseModel] | None = None
    annotation: Any = model
    for step in location:
        members = [a for a in get_args(annotation) if a is not NoneType]
        if get_origin(annotation) in (Union, UnionType):
            if len(members) > 1:  # the step says which member; it is not part of the path
                annotation = next(
                    (m for m in members if getattr(m, "__name__", str(m)) == step), None
                )
                continue
            annotation = members[0]
            members = [a for a in get_args(annotation) if a is not Ellipsis]
        path.append(step)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner = annotation
            field = owner.model_fields.get(str(step))
            annotation = field.annotation if field else None
        else:
            owner, annotation = None, members[-1] if members else None
    return tuple(path), owner, annotation
