"""The shape of the package, held by `ast`: who may import what, what files are called and how long.

A rule is a function from the root of a checkout to a list of faults, so that every rule is run
twice: on this checkout, where it must find nothing, and on a small broken tree, where it must find
the fault that was put there.

Ranks: a file may import its own package and lower ranks, nothing else.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RANKS = {
    **dict.fromkeys(("errors", "interruption"), 0),
    **dict.fromkeys(("files", "progress"), 1),
    "checksums": 2,
    **dict.fromkeys(("configuration", "remote", "tensors"), 3),
    **dict.fromkeys(("metrics", "backbone", "results"), 4),
    **dict.fromkeys(("tasks", "methods"), 5),
    "data": 6,
    **dict.fromkeys(("judge", "training", "reporting", "provenance"), 7),
    **dict.fromkeys(("inference", "entries"), 8),
    "plan": 9,
    **dict.fromkeys(("evaluation", "planning"), 10),
    **dict.fromkeys(("workbench", "display", "run_row", "trained"), 11),
    **dict.fromkeys(("benchmarks", "run"), 12),
    "grid": 13,
    "cli": 14,
    "__init__": 15,  # the public API, loaded lazily
}

# Which packages alone may import a library.
ONLY_IN = {
    "transformers": {"backbone", "data", "inference"},
    "hydra": {"run", "cli", "configuration"},
    "omegaconf": {"run", "cli", "configuration"},
    "torch": {
        *("tensors", "backbone", "methods", "data", "training", "inference"),
        *("plan", "planning", "provenance", "trained", "workbench", "benchmarks", "run"),
        *("grid", "cli"),
    },
}
NEVER = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}

VAGUE = {"util", "helper", "common", "misc", "manager", "handler"}
MAX_LINES = 400

# Code that serves every method and therefore names none.
METHOD_BLIND = (
    "training",
    "inference",
    "data",
    "backbone",
    "results",
    "reporting",
    "grid",
    "plan.py",
    "planning.py",
    "display.py",
    "run.py",
    "run_row.py",
)

HEAVY = ("torch", "transformers", "hydra", "omegaconf", "datasets", "evaluate", "wandb")


def python_files(root: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        path = root / folder
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def package_of(root: Path, file: Path) -> str:
    """Return the first name below iapt: a package, or a module that lies at the top."""
    return file.relative_to(root / "iapt").parts[0].removesuffix(".py")


def imports(root: Path, file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, wherever in the file it stands."""
    parts = file.relative_to(root).parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "iapt":  # from iapt import metrics: the name is what is imported
                yield from ((node.lineno, f"iapt.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def rank_faults(root: Path) -> list[str]:
    faults = []
    for file in python_files(root, "iapt"):
        own = package_of(root, file)
        where = file.relative_to(root)
        if own not in RANKS:
            faults.append(f"{where}: {own!r} has no rank; give it one in {Path(__file__).name}")
            continue
        for line, name in imports(root, file):
            top, _, rest = name.partition(".")
            if top != "iapt" or not rest:
                continue
            other = rest.split(".")[0]
            if other == "__version__" or other == own:
                continue
            if RANKS.get(other, len(RANKS)) >= RANKS[own]:
                faults.append(f"{where}:{line}: {own} imports {other}, which is not of lower rank")
    return faults


def library_faults(root: Path) -> list[str]:
    faults = []
    for file in python_files(root, "iapt"):
        own = package_of(root, file)
        where = file.relative_to(root)
        for line, name in imports(root, file):
            library = name.split(".")[0]
            if own not in ONLY_IN.get(library, {own}):
                allowed = ", ".join(sorted(ONLY_IN[library]))
                faults.append(f"{where}:{line}: {library} is imported in {allowed} only")
            if library in NEVER:
                faults.append(
                    f"{where}:{line}: {library} is never used here; save tensors and JSON"
                )
    return faults


def name_faults(root: Path) -> list[str]:
    faults = []
    for file in python_files(root, "iapt", "scripts", "tests"):
        where = file.relative_to(root)
        words = {
            word.removesuffix("s")
            for part in where.with_suffix("").parts
            for word in part.split("_")
        }
        faults += [f"{where}: {word!r} says nothing about what is inside" for word in words & VAGUE]
    return faults


def length_faults(root: Path) -> list[str]:
    faults = []
    for file in python_files(root, "iapt", "scripts", "tests"):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines >= MAX_LINES:
            faults.append(f"{file.relative_to(root)}: {lines} lines, {MAX_LINES} is too many")
    return faults


def method_name_faults(root: Path) -> list[str]:
    """Find method names as string literals where code must ask what a method can do instead.

    The package bears a method's name; that word counts only where something is compared with it.
    """
    methods = {file.stem for file in (root / "configs" / "method").glob("*.yaml")}
    faults = []
    for file in python_files(root, *(f"iapt/{name}" for name in METHOD_BLIND)):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        compared = {
            id(leaf)
            for node in ast.walk(tree)
            if isinstance(node, ast.Compare | ast.MatchValue)
            for leaf in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            if node.value in methods and (node.value != "iapt" or id(node) in compared):
                where = f"{file.relative_to(root)}:{node.lineno}"
                faults.append(f"{where}: names the method {node.value!r}; ask for a hook instead")
    return faults


def import_weight_faults(root: Path) -> list[str]:
    """Import every command as `--help` does, in one fresh interpreter; name what it drags in."""
    modules = [f"iapt.cli.{file.stem}" for file in sorted((root / "iapt" / "cli").glob("[!_]*.py"))]
    program = f"""
import importlib, sys
seen = set()
for name in {modules!r}:
    importlib.import_module(name)
    for heavy in sorted(set({HEAVY!r}) & set(sys.modules) - seen):
        seen.add(heavy)
        print(f"{{name}}: imports {{heavy}} at the top; import it inside main")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


RULES: list[Callable[[Path], list[str]]] = [
    rank_faults,
    library_faults,
    name_faults,
    length_faults,
    method_name_faults,
    import_weight_faults,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_checkout_has_no(rule):
    assert list(python_files(ROOT, "iapt")), f"no package in {ROOT}"
    assert not rule(ROOT), "\n" + "\n".join(rule(ROOT))


def test_every_console_command_has_its_main():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    scripts = pyproject.split("[project.scripts]\n")[1].split("\n\n")[0].splitlines()
    targets = [line.split('"')[1] for line in scripts]
    assert len(targets) == 9
    for target in targets:
        module, _, function = target.partition(":")
        file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


BROKEN = [
    (rank_faults, "iapt/metrics/span.py", "from iapt.tasks.base import Task", "not of lower rank"),
    (rank_faults, "iapt/tasks/span.py", "from iapt import methods", "not of lower rank"),
    (rank_faults, "iapt/tasks/span.py", "def late():\n    import iapt.run", "not of lower rank"),
    (rank_faults, "iapt/tasks/span.py", "from ..methods import lora", "not of lower rank"),
    (rank_faults, "iapt/extras/span.py", "", "has no rank"),
    (library_faults, "iapt/methods/span.py", "from transformers import Cache", "transformers"),
    (library_faults, "iapt/tasks/span.py", "import torch.nn", "torch"),
    (library_faults, "iapt/training/span.py", "from omegaconf import DictConfig", "omegaconf"),
    (library_faults, "iapt/training/span.py", "import pickle", "never used"),
    (name_faults, "iapt/tasks/utils.py", "", "says nothing"),
    (name_faults, "iapt/tasks/span_helper.py", "", "says nothing"),
    (name_faults, "scripts/common/span.py", "", "says nothing"),
    (length_faults, "iapt/tasks/span.py", "x = 1\n" * (MAX_LINES - 1), "400 lines"),
    (method_name_faults, "iapt/training/span.py", "if name == 'lora':\n    pass", "'lora'"),
    (method_name_faults, "iapt/run.py", "TRAINERS = {'lora': 1}", "'lora'"),
    (method_name_faults, "iapt/run.py", "bilevel = name in ('iapt', 'ssp')", "'iapt'"),
    (import_weight_faults, "iapt/cli/span.py", "import torch", "imports torch"),
]


@pytest.mark.parametrize(("rule", "path", "source", "message"), BROKEN)
def test_a_rule_finds_the_fault_put_into_a_broken_tree(rule, path, source, message, tmp_path):
    for name, text in {
        "configs/method/lora.yaml": "",
        "configs/method/iapt.yaml": "",
        "iapt/__init__.py": "",
        "iapt/errors.py": "",
        "iapt/cli/__init__.py": "",
        "iapt/run.py": "from iapt import __version__\nversions = {'iapt': __version__}",
        # A stand-in: what counts is that the name is imported, and torch itself takes seconds.
        "torch.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert rule(tmp_path) == []
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source + "\n", encoding="utf-8")
    faults = rule(tmp_path)
    assert len(faults) == 1
    assert message in faults[0]
