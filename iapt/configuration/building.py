"""From an entry of the configuration to an object: resolves `_target_` safely and calls it with checked values.

No file can make this package import a module: a target must be in `iapt` or in a module that the user
names with `plugins=`; any other target is refused before an import.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter
from pydantic import dataclasses as checked_dataclasses
from pydantic_core import SchemaError

from iapt.configuration.checking import STRICT, checked, short
from iapt.configuration.plugins import Plugins, blamed
from iapt.errors import ConfigError, IaptError, closest

# Keys that say how Hydra is to build an entry, which it never does here.
HYDRAS = ("_target_", "_convert_", "_recursive_")
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def build(
    entry: Mapping[str, Any],
    where: str,
    kind: type[Any],
    plugins: Plugins,
    *,
    names: tuple[str, ...] = (),
    apart: tuple[str, ...] = (),
    **extra: Any,
) -> Any:
    """Call an entry's `_target_` with its other values.

    Args:
        entry: `_target_` and arguments by name; `HYDRAS` are ignored.
        where: the name of the entry for messages, such as "method".
        kind: what the target must be: a base class, or a protocol whose methods it must have.
        plugins: further modules, besides `iapt`, that may contain targets.
        names: keys that describe the entry, passed on only if the target takes them.
        apart: keys that describe the entry and are never passed on, so the target may not ask for them.
        extra: arguments from outside the configuration, passed on only if the target takes them.

    Raises:
        ConfigError: the target is not allowed, does not exist or is of another kind, or does not take
            some of the values, which the message lists; or the user's own class raises an error.
    """
    target = resolve(entry.get("_target_"), where, kind, plugins)
    values = {k: v for k, v in entry.items() if k not in HYDRAS}
    values = {k: v for k, v in values.items() if k not in apart}
    parameters, hints, own = _signature(target)
    if lost := [k for k in apart if k in parameters]:
        raise ConfigError(
            f"{where}._target_={entry['_target_']}: its __init__ takes {lost[0]!r}, which would never arrive, because "
            f"an entry's {', '.join(apart)} describe the entry; rename the argument."
        )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    values = {k: v for k, v in values.items() if k not in names or k in parameters}
    extra = {k: v for k, v in extra.items() if takes_all or k in parameters}
    asked = {
        name: hints.get(name, Any)
        for name, p in parameters.items()
        if name not in extra and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    # A class may supply what its base class requires, so only its own parameters are mandatory.
    needed = {n for n in asked if n in own and parameters[n].default is inspect.Parameter.empty}
    name = target.__name__
    made = checked(_adapter(name, asked, needed, takes_all), values, where)
    arguments = {key: getattr(made, key) for key in values}
    try:
        return target(**extra, **arguments)
    except TypeError as error:
        if lacking := _lacking(error) & set(asked) - set(values):
            checked(_adapter(name, asked, needed | lacking, takes_all), values, where)
        raise ConfigError(f"{where}: {error} (in {entry['_target_']}).") from error
    except IaptError:
        raise
    except Exception as error:
        if not plugins.hold(entry["_target_"]):
            raise
        raise ConfigError(
            f"{where}: {entry['_target_']} raised {blamed(error, target)}."
        ) from error


def arguments(entry: Mapping[str, Any], where: str, plugins: Plugins) -> list[str]:
    """Return the names of the arguments that an entry's `_target_` takes.

    Raises:
        ConfigError: the target is not allowed or does not exist; see `build`.
    """
    parameters, _, _ = _signature(resolve(entry.get("_target_"), where, object, plugins))
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [name for name, p in parameters.items() if p.kind not in several]


def resolve(target: object, where: str, kind: type[Any], plugins: Plugins) -> type[Any]:
    """Find the class with a dotted name; see `build`."""
    said = f"{where}._target_={short(target)}"
    if not isinstance(target, str) or not DOTTED.fullmatch(target):
        raise ConfigError(f"{said}: must be the dotted name of a class, module.Class.")
    if not (target.startswith("iapt.") or plugins.hold(target)):
        raise ConfigError(
            f"{said}: must be in iapt or in a module that plugins= names ({plugins or 'none'}); "
            "nothing was imported."
        )
    module_name, _, name = target.rpartition(".")
    load = plugins.load if plugins.hold(target) else importlib.import_module
    try:
        module = load(module_name)
    except ImportError as error:
        raise ConfigError(f"{said}: {error}.") from error
    found = getattr(module, name, None)
    if found is None:
        near = closest(name, [n for n, v in vars(module).items() if isinstance(v, type)])
        raise ConfigError(f"{said}: {module_name} has no {name!r}.{near}")
    if not isinstance(found, type):
        raise ConfigError(f"{said}: is not a class, so it is not a {kind.__name__}.")
    protocol = getattr(kind, "_is_protocol", False)
    if not protocol and not issubclass(found, kind):
        raise ConfigError(
            f"{said}: is not a {kind.__name__}; derive it from {kind.__module__}.{kind.__name__}."
        )
    lacking = [m for m in _verbs(kind) if not callable(getattr(found, m, None))]
    if protocol and lacking:
        raise ConfigError(f"{said}: is not a {kind.__name__}; it has no {', no '.join(lacking)}.")
    return found


def _lacking(error: TypeError) -> set[str]:
    """Return the arguments that a base class requires, and that its subclass neither got nor supplied."""
    found = re.search(r"__init__\(\) missing \d+ required .*arguments?: (.*)", str(error))
    return set(re.findall(r"'(\w+)'", found[1])) if found else set()


def _verbs(kind: type[Any]) -> list[str]:
    return [n for n, v in vars(kind).items() if inspect.isfunction(v) and not n.startswith("_")]


def _adapter(
    name: str, asked: Mapping[str, Any], needed: set[str], takes_all: bool
) -> TypeAdapter[Any]:
    """Make the checker of a class's arguments: a dataclass with a field for each."""
    config = STRICT.copy()
    config["extra"] = "allow" if takes_all else "forbid"
    config["arbitrary_types_allowed"] = True

    def shape(hints: Mapping[str, Any]) -> TypeAdapter[Any]:
        forms = {key: field() if key in needed else field(default=None) for key in hints}
        fields = [(key, hint, forms[key]) for key, hint in hints.items()]
        plain = make_dataclass(name, fields, kw_only=True)
        return TypeAdapter(checked_dataclasses.dataclass(plain, config=config))

    try:
        return shape(asked)
    # Pydantic cannot check these annotations, so check only the names.
    except (PydanticUserError, SchemaError):
        return shape(dict.fromkeys(asked, Any))


def _signature(
    target: type[Any],
) -> tuple[dict[str, inspect.Parameter], dict[str, Any], set[str]]:
    """Return a class's parameters, their annotations, and the names of those that are its own.

    Parameters that a class passes on with `**` come from its base classes.
    """
    layers: list[Callable[..., Any]] = [
        vars(c)["__init__"]
        for c in target.__mro__[:-1]
        # nn.Module's signature takes anything, and its code then refuses it.
        if "__init__" in vars(c) and not c.__module__.startswith("torch.")
    ]
    parameters: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    own: set[str] = set()
    for layer in layers:
        found = dict(inspect.signature(layer).parameters)
        try:
            types = get_type_hints(layer, include_extras=True)
        except (NameError, TypeError):  # some names exist for type checkers only
            types = {}
        found.pop("self", None)
        own = own or set(found)
        for name in [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]:
            del parameters[name]
        parameters, hints = found | parameters, types | hints
        if not any(p.kind is p.VAR_KEYWORD for p in found.values()):
            break
    return parameters, hints, own
