"""The user's own modules, which hold methods, tasks, sources or loggers: `plugins=my_methods`.

Finding a module does not import it.  It is imported when it contains a `_target_`, with its folder and the
current folder on the module search path during that import only.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from iapt.checksums import sha256_of
from iapt.configuration.checking import short
from iapt.configuration.imported_code import code_of
from iapt.errors import ConfigError, closest
from iapt.files import expanded

# The file and digest of each imported module, so that an edited one, or another of its name, is reloaded.
_LOADED: dict[str, tuple[Path, str]] = {}


@dataclass(frozen=True)
class Plugins:
    """The modules that the user named.

    Attributes:
        files: module name -> its file, which is `__init__.py` for a package.
    """

    files: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def find(cls, words: str | Sequence[str] | None, folders: Sequence[Path] = ()) -> "Plugins":
        """Find modules without importing them.

        Args:
            words: names of modules, or paths of .py files and of packages.
            folders: where to look for names before the current folder and the installed modules.

        Raises:
            ConfigError: naming a word without a module.
        """
        words = [words] if isinstance(words, str) else words or []
        return cls(dict(_find(word, [*folders, Path.cwd()]) for word in words))

    def __str__(self) -> str:
        return ", ".join(self.files)

    def __bool__(self) -> bool:
        return bool(self.files)

    def hold(self, target: str) -> bool:
        """Say whether a dotted name is in one of the modules."""
        return target.partition(".")[0] in self.files

    def load(self, module: str) -> ModuleType:
        """Import one of the modules, or a submodule.

        Raises:
            ConfigError: the module itself raises; the message has the error and its place.
        """
        name = module.partition(".")[0]
        file = self.files[name]
        _make_way(name, file, self.digest(name), code_of(file, _folders(file)))
        try:
            with _searching(*_folders(file)):
                return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name == module:
                raise  # the target is wrong, which the caller reports
            raise ConfigError(
                f"plugins={name}: {file} imports {error.name}, which does not exist."
            ) from error
        except Exception as error:
            at = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise ConfigError(
                f"plugins={name}: {file}{at} cannot be imported: {type(error).__name__}: {str(error).rstrip('.')}."
            ) from error

    def used_by(self, *targets: object) -> dict[str, str]:
        """Return the modules that contain the targets, with their digests."""
        return {
            name: self.digest(name)
            for name in self.files
            if any(str(target).partition(".")[0] == name for target in targets)
        }

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a module's file, or over all files of a package and those imported from beside it."""
        file = self.files[name]
        parts = code_of(file, _folders(file))
        if parts == [file] and file.name != "__init__.py":
            return sha256_of(file)
        lines = [f"{_told(p, file.parent)} {sha256_of(p)}\n" for p in parts]
        return sha256("".join(lines).encode()).hexdigest()


def blamed(error: Exception, kind: type[object]) -> str:
    """Return an error of the user's class in one line, with its place: `KeyError: 'x' (my_methods.py, line 7)`."""
    outer = ("iapt.", "torch.", "builtins")
    own = [c.__module__ for c in kind.__mro__ if not c.__module__.startswith(outer)]
    files = {getattr(sys.modules.get(name), "__file__", None) for name in own}
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    place = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
    said = (str(error).splitlines() or [""])[0].rstrip(".!")
    return f"{type(error).__name__}: {said}{place}"


def _folders(file: Path) -> tuple[Path, Path]:
    """Return where a module's imports are looked for first: its own folder, and the current one."""
    return file.parent.parent if file.name == "__init__.py" else file.parent, Path.cwd()


def _told(part: Path, folder: Path) -> str:
    """Return the name of a file relative to a folder, or its bare name if it lies elsewhere."""
    return part.relative_to(folder).as_posix() if part.is_relative_to(folder) else part.name


def _find(word: str, folders: Sequence[Path]) -> tuple[str, Path]:
    path = expanded(word)
    if word.endswith(".py") or "/" in word:
        file = path / "__init__.py" if path.is_dir() else path
        name = path.name.removesuffix(".py")
        if not file.is_file() or file.suffix != ".py":
            raise ConfigError(f"plugins={word}: there is no such Python file or package.")
        if not name.isidentifier():
            raise ConfigError(f"plugins={word}: {name!r} cannot name a module; rename it.")
        return name, file.resolve()
    if not word.isidentifier():
        raise ConfigError(
            f"plugins={short(word)}: must be a module's name or the path of a .py file."
        )
    for folder in folders:
        for file in (folder / word / "__init__.py", folder / f"{word}.py"):
            if file.is_file():
                return word, file.resolve()
    spec = importlib.util.find_spec(word) if word not in sys.modules else sys.modules[word].__spec__
    if spec is not None and spec.has_location and spec.origin is not None:
        return word, Path(spec.origin).resolve()
    near = [p.stem for folder in folders for p in folder.glob("*.py")]
    where = ", ".join(dict.fromkeys(str(f) for f in folders))
    raise ConfigError(
        f"plugins={word}: no such module in {where} or among the installed ones.{closest(word, near)}"
    )


def _make_way(name: str, file: Path, digest: str, code: Sequence[Path]) -> None:
    """Unload an earlier plugin of this name with all its code, and refuse to shadow any other module.

    Raises:
        ConfigError: another module has this name.
    """
    there = sys.modules.get(name)
    if there is None or _LOADED.get(name) == (file, digest):
        pass
    elif name in _LOADED:
        files = {str(part) for part in code}
        for key, module in list(sys.modules.items()):
            if f"{key}.".startswith(f"{name}.") or getattr(module, "__file__", None) in files:
                del sys.modules[key]
    elif Path(there.__file__ or "").resolve() != file.resolve():
        raise ConfigError(
            f"plugins={name}: {file} has the same name as another module, {there.__file__ or 'built in'}; "
            "rename it."
        )
    _LOADED[name] = (file, digest)


@contextmanager
def _searching(*folders: Path) -> Iterator[None]:
    """Put folders first on the module search path during a block, and write no bytecode into them."""
    before = sys.path[:], sys.dont_write_bytecode
    sys.path[:0] = [str(folder) for folder in folders]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = before
