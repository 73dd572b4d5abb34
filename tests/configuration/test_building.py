"""An entry, built: what may be named, of which kind it must be, and which values it takes."""

from pathlib import Path
from typing import Any

import pytest

from iapt.configuration.building import build
from iapt.configuration.plugins import Plugins
from iapt.errors import ConfigError
from iapt.methods.base import Method
from iapt.tasks.base import Source, Task
from iapt.training.loggers import RunLogger

TOYS = """
from typing import Annotated, Literal, TYPE_CHECKING
from pydantic import Field
from iapt.methods.base import Method
if TYPE_CHECKING:
    from nowhere import Nothing

class Plain:
    def __init__(self, size: int, sites: tuple[str, ...] = ("q",), kind: Literal["a", "b"] = "a",
                 share: Annotated[float, Field(ge=0, le=1)] = 0.5, schema: str = "", free=None) -> None:
        self.size, self.sites, self.kind, self.share, self.schema, self.free = size, sites, kind, share, schema, free

class Handing(Plain):
    def __init__(self, *, own: bool, **common) -> None:
        super().__init__(**{"size": 3, **common})
        self.own = own

class Lazy(Plain):
    def __init__(self, *, own: bool, **common) -> None:
        super().__init__(**common)

class Wrong(Plain):
    def __init__(self, size: int = 1) -> None:
        Handing(size=size)

class Open:
    def __init__(self, **values) -> None:
        self.values = values

class Unknown(Plain):
    def __init__(self, thing: "Nothing", size: int = 1) -> None:
        self.thing, self.size = thing, size

class Refusing(Plain):
    def __init__(self) -> None:
        raise TypeError("not today")

class Failing(Plain):
    def __init__(self) -> None:
        {}["key"]

class Inheriting(Failing):
    pass

class Quiet(Method):
    pass

def function(size: int) -> None:
    pass
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    (tmp_path / "toys.py").write_text(TOYS)
    return Plugins.find(str(tmp_path / "toys.py"))


def made(plugins: Plugins, name: str, **values: Any) -> Any:
    return build({"_target_": f"toys.{name}", **values}, "toy", object, plugins)


def test_values_arrive_as_the_signature_wants_them(plugins: Plugins):
    toy = made(plugins, "Plain", size=2, sites=["q", "v"], share=1, free={"any": 1}, schema="s")
    assert (toy.size, toy.sites, toy.share, toy.free, toy.schema) == (2, ("q", "v"), 1.0, {"any": 1}, "s")  # fmt: skip
    assert made(plugins, "Plain", size=2, _convert_="all").sites == ("q",)


def test_every_wrong_value_is_named(plugins: Plugins):
    with pytest.raises(ConfigError) as caught:
        made(plugins, "Plain", sites=[1], kind="c", share=2, schema=5, shar=1)
    assert str(caught.value).splitlines() == [
        "toy.size: missing; it must be a whole number.",
        "toy.sites.0=1: must be text.",
        "toy.kind='c': allowed are a, b.",
        "toy.share=2: must be a number >= 0 and <= 1.",
        "toy.schema=5: must be text.",
        "toy.shar: unknown; allowed are size, sites, kind, share, schema, free. Did you mean 'share'?",
    ]


@pytest.mark.parametrize("value", [True, 2.0, "2", None, float("nan"), [2]])
def test_nothing_but_a_whole_number_is_one(plugins: Plugins, value: object):
    with pytest.raises(ConfigError, match=r"toy\.size=.*: must be a whole number"):
        made(plugins, "Plain", size=value)


def test_what_a_class_hands_on_is_asked_of_its_base(plugins: Plugins):
    toy = made(plugins, "Handing", own=True, kind="b")
    assert (toy.own, toy.kind, toy.size) == (True, "b", 3)
    with pytest.raises(ConfigError, match=r"toy\.knid: unknown; .*Did you mean 'kind'"):
        made(plugins, "Handing", own=True, knid="b")


def test_what_a_base_requires_and_nobody_gives_is_missing(plugins: Plugins):
    with pytest.raises(ConfigError, match=r"^toy\.size: missing; it must be a whole number\.$"):
        made(plugins, "Lazy", own=True)
    with pytest.raises(ConfigError, match=r"missing .* argument: 'own' \(in toys\.Wrong\)"):
        made(plugins, "Wrong")  # its own mistake, and no argument of the entry's


def test_a_class_that_takes_anything_gets_it(plugins: Plugins):
    assert made(plugins, "Open", a=1, b=[2]).values == {"a": 1, "b": [2]}


def test_a_class_that_takes_anything_gets_further_arguments_too(plugins: Plugins):
    toy = build({"_target_": "toys.Open", "a": 1}, "toy", object, plugins, dims=6)
    assert toy.values == {"a": 1, "dims": 6}


def test_annotations_that_only_a_type_checker_knows_are_not_checked(plugins: Plugins):
    assert made(plugins, "Unknown", thing=[1]).thing == [1]
    with pytest.raises(ConfigError, match=r"toy\.thign: unknown; .*Did you mean 'thing'"):
        made(plugins, "Unknown", thing=1, thign=1)


def test_further_arguments_and_names_go_only_where_they_are_taken(plugins: Plugins):
    entry = {"_target_": "toys.Plain", "size": 1, "name": "x"}
    toy = build(entry, "toy", object, plugins, names=("name",), free=5, dims=6)
    assert toy.free == 5
    with pytest.raises(ConfigError, match=r"toy\.name: unknown"):
        build(entry, "toy", object, plugins)
    with pytest.raises(ConfigError, match=r"toy\.free: unknown"):
        build({**entry, "free": 1}, "toy", object, plugins, names=("name",), free=5)


def test_a_type_error_of_the_class_is_told_with_its_name(plugins: Plugins):
    with pytest.raises(ConfigError, match=r"toy: not today \(in toys\.Refusing\)"):
        made(plugins, "Refusing")


@pytest.mark.parametrize("name", ["Failing", "Inheriting"])
def test_any_other_error_of_the_class_is_told_with_its_line(name: str, plugins: Plugins):
    with pytest.raises(
        ConfigError, match=rf"^toy: toys\.{name} raised KeyError: 'key' \(toys\.py, line 40\)\.$"
    ):
        made(plugins, name)


def test_an_argument_with_the_name_of_a_key_that_never_arrives_is_refused(plugins: Plugins):
    entry = {"_target_": "toys.Plain", "size": 1}
    with pytest.raises(ConfigError, match=r"its __init__ takes 'size', which would never arrive"):
        build(entry, "toy", object, plugins, apart=("name", "size"))
    entry = {"_target_": "toys.Open", "size": 1, "free": 2}
    assert build(entry, "toy", object, plugins, apart=("size",)).values == {"free": 2}


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.Popen", "builtins.dict", "spy.X", "iaptx.y.Z", "toysx.Plain"],
)
def test_a_target_from_elsewhere_is_refused_before_an_import(
    target: str, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("spy", "iaptx", "toysx"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        build({"_target_": target}, "data", Source, plugins)
    assert str(caught.value) == (
        f"data._target_='{target}': must be in iapt or in a module that plugins= names (toys); "
        "nothing was imported."
    )


@pytest.mark.parametrize(
    "target", ["", "iapt", "LoRA", "iapt..LoRA", "iapt.x y", "iapt.lora.", 5, None, ["iapt.a"]]
)
def test_a_target_is_a_dotted_name(target: object, plugins: Plugins):
    with pytest.raises(
        ConfigError, match=r"method\._target_=.*: must be the dotted name of a class"
    ):
        build({"_target_": target}, "method", Method, plugins)
    with pytest.raises(ConfigError, match=r"method\._target_=None"):
        build({}, "method", Method, plugins)


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("iapt.cli.train.main", Method, "is not a class, so it is not a Method"),
        ("toys.function", Task, "is not a class, so it is not a Task"),
        ("iapt.data.source.Sample", Method, r"is not a Method; derive it from iapt\.methods\.base\.Method"),
        ("toys.Plain", Task, "is not a Task; it has no examples, no parse, no score"),
        ("toys.Plain", Source, "is not a Source; it has no rows, no fingerprint, no at, no place"),
        ("iapt.data.source.Sample", RunLogger, "is not a RunLogger; it has no start, no log, no finish"),
        ("iapt.methods.loar.LoRA", Method, r"No module named 'iapt\.methods\.loar'"),
        ("iapt.methods.lora.LoRa", Method, r"iapt\.methods\.lora has no 'LoRa'\. Did you mean 'LoRA'"),
        ("toys.Plian", object, "toys has no 'Plian'. Did you mean 'Plain'"),
        ("toys.inner.Plain", object, "No module named 'toys.inner'"),
    ],
)  # fmt: skip
def test_a_target_of_another_kind_is_named(
    target: str, kind: type[Any], message: str, plugins: Plugins
):
    with pytest.raises(ConfigError, match=message) as caught:
        build({"_target_": target}, "entry", kind, plugins)
    assert str(caught.value).startswith(f"entry._target_='{target}': ")
