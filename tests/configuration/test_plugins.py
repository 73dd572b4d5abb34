"""Modules of the user's own: found without an import, imported from where they were found."""

import sys
from pathlib import Path

import pytest

from iapt.checksums import sha256_of
from iapt.configuration.plugins import Plugins
from iapt.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def module(folder: Path, text: str, name: str = "toy_plugin") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text(text)
    return file


def test_finding_imports_nothing_and_looks_in_given_folders_first(tmp_path: Path):
    module(Path.cwd(), "raise SystemExit('imported')")
    file = module(tmp_path / "there", "raise SystemExit('imported')")
    assert Plugins.find("toy_plugin", [tmp_path / "there"]).files == {"toy_plugin": file}
    assert Plugins.find("toy_plugin").files == {"toy_plugin": Path.cwd() / "toy_plugin.py"}
    assert "toy_plugin" not in sys.modules


def test_a_module_is_named_by_a_path_or_found_among_the_installed(tmp_path: Path):
    file = module(tmp_path / "there", "")
    package = module(tmp_path / "there" / "toy_package", "", "__init__")
    assert Plugins.find([str(file), str(package.parent)]).files == {
        "toy_plugin": file,
        "toy_package": package,
    }
    assert Plugins.find("tqdm").files["tqdm"].name == "__init__.py"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("toy_plugn", r"plugins=toy_plugn: no such module in .*Did you mean 'toy_plugin'"),
        ("a b", "must be a module's name or the path"),
        ("os.path", "must be a module's name or the path"),
        ("./nothing.py", "there is no such Python file or package"),
        ("./2.py", "cannot name a module"),
        ("sys", "no such module"),
    ],
)
def test_a_wrong_name_is_told(word: str, message: str):
    module(Path.cwd(), "")
    module(Path.cwd(), "", "2")
    with pytest.raises(ConfigError, match=message):
        Plugins.find(word)


def test_a_module_sees_its_neighbours_and_leaves_the_search_path_and_no_bytecode(tmp_path: Path):
    module(tmp_path / "there", "VALUE = 7\n", "toy_neighbour")
    file = module(tmp_path / "there", "from toy_neighbour import VALUE\n")
    before = list(sys.path)
    assert Plugins.find(str(file)).load("toy_plugin").VALUE == 7
    assert sys.path == before
    assert sorted(p.name for p in file.parent.iterdir()) == ["toy_neighbour.py", "toy_plugin.py"]


def test_a_module_of_another_folder_sees_those_of_the_working_folder(tmp_path: Path):
    module(Path.cwd(), "VALUE = 8\n", "toy_of_the_working_folder")
    file = module(tmp_path / "there", "from toy_of_the_working_folder import VALUE\n")
    assert Plugins.find(str(file)).load("toy_plugin").VALUE == 8


def test_a_part_of_a_package_is_loaded(tmp_path: Path):
    module(tmp_path / "toy_package", "", "__init__")
    module(tmp_path / "toy_package", "from toy_package import __name__ as whole\n", "part")
    plugins = Plugins.find(str(tmp_path / "toy_package"))
    assert plugins.load("toy_package.part").whole == "toy_package"


def test_an_edited_module_and_another_of_the_same_name_are_read_anew(tmp_path: Path):
    file = module(tmp_path / "a", "VALUE = 1\n")
    assert Plugins.find(str(file)).load("toy_plugin").VALUE == 1
    first = sys.modules["toy_plugin"]
    assert Plugins.find(str(file)).load("toy_plugin") is first
    file.write_text("VALUE = 2\n")
    assert Plugins.find(str(file)).load("toy_plugin").VALUE == 2
    other = module(tmp_path / "b", "VALUE = 3\n")
    assert Plugins.find(str(other)).load("toy_plugin").VALUE == 3


def test_an_edited_part_of_a_package_is_read_anew(tmp_path: Path):
    package = tmp_path / "toy_package"
    for value in (1, 2):
        module(package, "", "__init__")
        module(package, f"VALUE = {value}\n", "part")
        loaded = Plugins.find(str(package)).load("toy_package.part")
        assert value == loaded.VALUE


def test_no_plugin_stands_in_front_of_another_module(tmp_path: Path):
    file = module(tmp_path, "", "json")
    with pytest.raises(
        ConfigError, match=r"has the same name as another module, .*json.*rename it"
    ):
        Plugins.find(str(file)).load("json")
    assert sys.modules["json"].__file__ != str(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (\n", r"toy_plugin\.py, line 1 cannot be imported: SyntaxError"),
        ("import toy_nothing\n", "imports toy_nothing, which does not exist"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_is_named_with_the_reason(text: str, message: str):
    module(Path.cwd(), text)
    for _ in range(2):  # nothing half-imported is left
        with pytest.raises(ConfigError, match=message):
            Plugins.find("toy_plugin").load("toy_plugin")


def test_the_digest_is_of_the_code_wherever_it_lies(tmp_path: Path):
    one, two = (module(tmp_path / where, "VALUE = 1\n") for where in "ab")
    first, second = (Plugins.find(str(f)).digest("toy_plugin") for f in (one, two))
    assert first == second
    two.write_text("VALUE = 2\n")
    assert Plugins.find(str(two)).digest("toy_plugin") != first
    package = module(tmp_path / "toy_package", "", "__init__").parent
    whole = Plugins.find(str(package))
    before = whole.digest("toy_package")
    module(package / "inner", "VALUE = 1\n", "part")
    assert whole.digest("toy_package") != before


def test_only_modules_that_a_target_lies_in_are_used(tmp_path: Path):
    files = [str(module(tmp_path, "", name)) for name in ("toy_a", "toy_b")]
    used = Plugins.find(files).used_by("toy_a.Method", "iapt.x.Y", None)
    assert set(used) == {"toy_a"}


HELPERS = {
    "a module": ("from toy_near import VALUE", "toy_near.py"),
    "a module in a function": ("def f():\n    import toy_near\nVALUE = 1", "toy_near.py"),
    "by way of another": ("import toy_way\nVALUE = 1", "toy_near.py"),
    "a part of a package": ("from toy_pack.inner import VALUE", "toy_pack/inner.py"),
    "a package beside the one named": ("import toy_pack\nVALUE = 1", "toy_pack/__init__.py"),
    "a part of a folder": ("from toy_space import part\nVALUE = 1", "toy_space/part.py"),
    "a neighbour in that folder": ("import toy_space.part\nVALUE = 1", "toy_space/more.py"),
}


def code_with_helpers(folder: Path, text: str) -> Path:
    file = module(folder, text + "\n")
    module(folder, "VALUE = 1\n", "toy_near")
    module(folder, "import toy_near\n", "toy_way")
    module(folder / "toy_pack", "", "__init__")
    module(folder / "toy_pack", "VALUE = 1\n", "inner")
    module(folder / "toy_space", "from . import more\n", "part")
    module(folder / "toy_space", "VALUE = 1\n", "more")
    module(folder, "VALUE = 1\n", "toy_unused")
    return file


@pytest.mark.parametrize("how", HELPERS)
def test_the_digest_covers_what_a_module_imports_from_beside_it(how: str, tmp_path: Path):
    text, helper = HELPERS[how]
    one, two = (code_with_helpers(tmp_path / where, text) for where in "ab")
    digests = [Plugins.find(str(f)).digest("toy_plugin") for f in (one, two)]
    assert digests[0] == digests[1]
    (tmp_path / "b" / "toy_unused.py").write_text("VALUE = 2\n")
    assert Plugins.find(str(two)).digest("toy_plugin") == digests[0]
    (tmp_path / "b" / helper).write_text("VALUE = 2\n")
    assert Plugins.find(str(two)).digest("toy_plugin") != digests[0]


def test_without_helpers_the_digest_is_that_of_the_file(tmp_path: Path):
    file = code_with_helpers(tmp_path, "import torch, iapt\nfrom iapt import Method")
    assert Plugins.find(str(file)).digest("toy_plugin") == sha256_of(file)
    installed = code_with_helpers(tmp_path / "site-packages", "import toy_near")
    assert Plugins.find(str(installed)).digest("toy_plugin") == sha256_of(installed)


def test_an_edited_neighbour_is_read_anew(tmp_path: Path):
    for value in (1, 2):
        module(tmp_path / "new", f"VALUE = {value}\n", "toy_edited")
        file = module(tmp_path / "new", "from toy_edited import VALUE\n")
        assert value == Plugins.find(str(file)).load("toy_plugin").VALUE
