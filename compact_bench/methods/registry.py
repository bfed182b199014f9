"""Find methods: one file each in `baselines/`, COMPACT itself, and other packages' entry points.

Names are listed without importing anything; a module is imported when its method is used, so a broken
one harms only itself. A file that a command names ("mine.py") is a method of that command alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import os
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.paths import package_folder
from compact_bench.core.records import fingerprint
from compact_bench.core.registry import PACKAGED, load_source, plugins, with_claims
from compact_bench.core.settings import Strict, describe_validation_error
from compact_bench.methods.code import BASELINES, code_files, path_helpers
from compact_bench.methods.code import MethodSource as MethodSource
from compact_bench.methods.contract import METHOD_PARTS, Method, MethodCard

ENTRY_POINT_GROUP = "compact_bench.baselines"
LONGEST_NAME = 40
OF_FILE = "file"
"""Origin of a method whose file a command names."""
_PREFIX = "compact_bench_methods."
_RESERVED = ("settings", "all", "table", "claims", "stored")
"""Words that mean something else where methods are named."""


def _baselines_folder() -> Path | None:
    package = package_folder()
    # In a wheel the folder lies inside the package; in a checkout beside it.
    for folder in (package / "_baselines", package.parent / "baselines"):
        if (folder / "zero_shot.py").is_file():
            return folder
    return None


def template_file() -> Path:
    """The file that new methods are made from.

    Raises:
        ConfigError: the installation lacks it.
    """
    folder = _baselines_folder()
    if folder is None or not (folder / "_template.py").is_file():
        raise ConfigError("the installation has no _template.py beside its baselines: install it again.")
    return folder / "_template.py"


_FILES: dict[str, MethodSource] = {}
"""Methods of the files that this process's command names."""


_HELPERS: dict[str, tuple[Path, str]] = {}
"""Name of a module on `sys.path` -> its file or folder, and the method's file that first needed it."""


def check_method_name(name: str, where: str, mend: str = "") -> None:
    """Refuse what cannot name a method.

    Args:
        where: what bears the name ("method 'x'", a file).
        mend: how to mend it, before the suggestion.

    Raises:
        ConfigError: it is no module's name, is too long, or means something else in the commands.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        likely = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        likely = f"method_{likely}" if not likely[:1].isalpha() or keyword.iskeyword(likely) else likely
        raise ConfigError(
            f"{where}: expected a name of at most {LONGEST_NAME} small letters, digits and _, as a "
            f"Python module has, that begins with a letter.{mend} Try {likely[:LONGEST_NAME]!r}."
        )
    if name in _RESERVED:
        raise ConfigError(f"{where}: the word {name!r} has another meaning in the commands; choose another.")


def split_file(text: str) -> tuple[str, Path | None]:
    """Name and file of a method that may be given as a file: ("mine[strong]", mine.py) of "mine.py[strong]".

    The file of any other name is None.

    Raises:
        ConfigError: brackets are not as in "name[variant]".
    """
    method, variant = split_name(text)
    if not method.endswith(".py"):
        return text, None
    path = Path(method).expanduser()
    return (f"{path.stem}[{variant}]" if variant else path.stem), path


def as_given(text: str) -> str:
    """A method or variant as a command line names it: one of a file by its path from the working folder."""
    method, bracket, variant = text.partition("[")
    source = _FILES.get(method)
    return text if source is None else f"{os.path.relpath(str(source.path))}{bracket}{variant}"


def use_method_files(files: Iterable[Path]) -> None:
    """Make the methods of files known in this process, in place of those of an earlier call.

    A method's name is its file's stem. A file that is registered anyway stays what it is.

    Raises:
        ConfigError: there is no such file, its stem cannot be a method's name, or a method has this name.
    """
    _FILES.clear()
    _HELPERS.clear()
    method_sources.cache_clear()
    registered, found = method_sources(), dict[str, MethodSource]()
    for path in files:
        if not path.is_file():
            raise ConfigError(f"{path}: expected a Python file with a METHOD, got no such file.")
        source = MethodSource(path.stem, OF_FILE, path=path.resolve())
        other = registered.get(source.name) or found.get(source.name)
        if other is not None and other.path is not None and other.path.resolve() == source.path:
            continue
        check_method_name(source.name, str(path), " A method's name is its file's stem: rename the file.")
        if other is not None:
            whose = str(other.path) if other.origin == OF_FILE else f"of {other.origin}"
            raise ConfigError(
                f"{path}: expected a file whose stem no other method has as its name, got {source.name!r}, "
                f"which is a method {whose}. Rename the file."
            )
        found[source.name] = source
    _FILES.update(found)
    method_sources.cache_clear()


@lru_cache(maxsize=1)
def method_sources() -> Mapping[str, MethodSource]:
    """All methods by name, without importing them.

    A name belongs to what comes with compact_bench, else to the one package that claims it. What else claims
    it is refused under "NAME@PACKAGE", so that it harms nothing but itself.
    """
    own_file = Path(__file__).with_name("compact") / "method.py"
    packaged = {"compact": MethodSource("compact", PACKAGED, path=own_file)}
    folder = _baselines_folder()
    for path in sorted(folder.glob("*.py")) if folder else ():
        # `compact` is taken; a file of that name would never be found.
        if not path.name.startswith("_") and path.stem not in packaged:
            packaged[path.stem] = MethodSource(path.stem, BASELINES, path=path)
    claims = [MethodSource(**vars(source)) for source in plugins(ENTRY_POINT_GROUP)]
    return dict(sorted((with_claims("method", packaged, claims) | _FILES).items()))


def method_names() -> tuple[str, ...]:
    """Names of all methods, sorted."""
    return tuple(method_sources())


def get_method(name: str) -> type[Any]:
    """Import one method: a class that satisfies `contract.Method`.

    Raises:
        UnknownNameError: no such method; near matches are suggested.
        ConfigError: its module cannot be imported or holds no method; the file or package is named.
    """
    sources = method_sources()
    if name not in sources:
        raise UnknownNameError("method", name, sources)
    return import_method(sources[name])


def import_method(source: MethodSource) -> type[Any]:
    """Import a method, registered or not: a class that satisfies `contract.Method`.

    Raises:
        ConfigError: its module cannot be imported or holds no method; the file or package is named.
    """
    name = source.name
    where = str(source.path.name) if source.path else f"entry point of {source.origin}"
    # Read just before it is imported, so that the fingerprint is that of the code which this process runs.
    code_files(source)
    _check_helpers(source)
    candidate = load_source("method", source, where, partial(_import, source))
    _check_helpers(source)
    missing = [part for part in METHOD_PARTS if not hasattr(candidate, part)]
    if not isinstance(candidate, type) or missing:
        raise ConfigError(
            f"method {name!r} ({where}): expected METHOD to be a class with {', '.join(METHOD_PARTS)}, got "
            f"{candidate!r}" + (f" without {', '.join(missing)}" if missing else "")
        )
    kind: type[Any] = candidate
    config, variants = kind.config_type, getattr(kind, "variants", {})
    for part, right, expected in (
        ("card", isinstance(kind.card, MethodCard), "a MethodCard"),
        ("config_type", isinstance(config, type) and issubclass(config, Strict), "a subclass of Strict"),
        ("variants", _are_variants(variants), "a mapping from names to values of the configuration"),
    ):
        if not right:
            got = getattr(kind, part)
            raise ConfigError(f"method {name!r} ({where}): expected {part} to be {expected}, got {got!r}.")
    return kind


def _check_helpers(source: MethodSource) -> None:
    """Refuse a method whose helper on `sys.path` has the name of another file that this process imports.

    Python keeps one module of a name: the second method would silently run the first one's code.
    """
    for name, place in path_helpers(source).items():
        mine = place.resolve()
        other, whose = _HELPERS.setdefault(name, (mine, str(source.path)))
        loaded = sys.modules.get(name)
        if loaded is not None and (found := _place_of(loaded)) is not None and found != mine:
            other, whose = found, whose if found == other else "something else"
        if other != mine:
            raise ConfigError(
                f"method {source.name!r} ({source.path}): expected its module {name!r} from {mine}, "
                f"got {other}, of which {whose} makes use: Python keeps one module of a name. Rename one of "
                f"the two, put it beside its method's file as `from .{name} import ...`, or give the methods "
                "to two commands."
            )


def _place_of(module: ModuleType) -> Path | None:
    """File of a module, or folder of a package; None of what has neither."""
    folders = list(getattr(module, "__path__", []))
    place = folders[0] if folders else getattr(module, "__file__", None)
    return None if place is None else Path(place).resolve()


def _are_variants(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(values, Mapping) for name, values in value.items()
    )


def _import(source: MethodSource) -> Any:
    if source.load is not None:
        loaded = source.load()
        return getattr(loaded, "METHOD", loaded)
    if source.origin == PACKAGED:
        return importlib.import_module("compact_bench.methods.compact.method").METHOD
    assert source.path is not None
    # The package that method files are modules of, so that `from ._helpers import ...` finds theirs: the
    # folder has another name in a wheel than in a checkout, so that they cannot say an absolute one.
    # A folder of a user's is a package of its own: its methods and helpers may have the names of ours.
    folder = str(source.path.parent)
    file = "" if source.origin == BASELINES else f"file_{fingerprint(folder, 8)}."
    package_name = (_PREFIX + file)[:-1]
    module_name = f"{package_name}.{source.name}"
    if module_name in sys.modules:
        return sys.modules[module_name].METHOD
    # The package of packages too: `from . import _h` and `from .sub.deep import x` import all above them.
    for name, path in ((_PREFIX[:-1], []), (package_name, [folder])):
        if name not in sys.modules or path:
            package = sys.modules.setdefault(name, ModuleType(name))
            package.__path__ = path
    spec = importlib.util.spec_from_file_location(module_name, source.path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source.path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    return module.METHOD


def split_name(name: str) -> tuple[str, str]:
    """Method and variant of a name as users write it, as "compact" or "compact[no-consensus]".

    Raises:
        ConfigError: brackets are not as in these.
    """
    method, bracket, rest = name.strip().partition("[")
    if bracket and (not rest.endswith("]") or not rest[:-1] or not method):
        raise ConfigError(f"method {name!r}: expected a name, or name[variant].")
    return method, rest[:-1] if bracket else ""


def method_variants(method: str) -> Mapping[str, Mapping[str, Any]]:
    """Registered variants of a method: name -> values of its configuration.

    Raises:
        UnknownNameError, ConfigError: see `get_method`.
    """
    variants: Mapping[str, Mapping[str, Any]] = getattr(get_method(method), "variants", {})
    return variants


def variant_config(method: str, variant: str) -> dict[str, Any]:
    """The values that make a registered variant; none for "", the method as it is.

    Raises:
        UnknownNameError: no such method or variant.
        ConfigError: the method cannot be imported.
    """
    known = method_variants(method)
    if variant and variant not in known:
        raise UnknownNameError(f"variant of method {method!r}", variant, known)
    return dict(known[variant]) if variant else {}


def make_method(name: str, config: Mapping[str, Any] | None = None) -> Method:
    """A method with its configuration, of which `config` has what differs from the defaults.

    Raises:
        ConfigError: a value is wrong or unknown; all are listed.
    """
    kind = get_method(name)
    try:
        settings = kind.config_type.model_validate(dict(config or {}))
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, f"settings of method {name!r}")) from None
    method: Method = kind(settings)
    return method
