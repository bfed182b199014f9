"""Names that stand for code or data files: this package's, and those that other packages bring.

Another package declares entry points in a group ("compact_bench.probes"), or one in `DATA_FILES` that names
a module in whose folder `table_*.toml`, `task_*.yaml` and the like lie. Nothing is imported to list names.
What is broken or claims a name that is taken is refused by name and harms nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from compact_bench.core.errors import CompactBenchError, ConfigError, PluginError, UnknownNameError
from compact_bench.core.written.names import shown

PACKAGED = "compact_bench"
DATA_FILES = "compact_bench.data_files"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Source:
    """Where the thing of one name comes from: "compact_bench", or the distribution that brings it.

    `load` imports or reads it; `problem` says why it cannot be used, where that is known before. Of an entry
    point, `module` is the module that holds it and `version` that of its distribution.
    """

    name: str
    origin: str
    load: Callable[[], Any] | None = None
    problem: str = ""
    module: str = ""
    version: str = ""


S = TypeVar("S", bound=Source)


@cache
def installed_entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Entry points of a group; read once, as every distribution's metadata is searched."""
    return tuple(entry_points(group=group))


def plugins(group: str) -> list[Source]:
    """What other packages' entry points of a group bring, without importing it."""
    return [
        Source(
            point.name,
            _origin(point),
            partial(_load_once, point),
            module=point.module,
            version=_version(point),
        )
        for point in installed_entry_points(group)
    ]


_OUTCOMES: dict[int, tuple[EntryPoint, Any, BaseException | None]] = {}
"""Identity of an entry point -> the point (so that no other gets its identity), and what its import gave."""


def _load_once(point: EntryPoint) -> Any:
    """Import what an entry point names; a failure is remembered too, so that its code is not run again."""
    if id(point) not in _OUTCOMES:
        try:
            _OUTCOMES[id(point)] = (point, point.load(), None)
        except (Exception, SystemExit) as error:
            _OUTCOMES[id(point)] = (point, None, error)
    _, loaded, failure = _OUTCOMES[id(point)]
    if failure is not None:
        raise failure
    return loaded


def _origin(point: EntryPoint) -> str:
    # A distribution without metadata has no name.
    return shown((point.dist.name if point.dist is not None else "") or point.value)


def _version(point: EntryPoint) -> str:
    return (point.dist.version or "") if point.dist is not None else ""


def file_sources(kind: str, suffix: str, packaged: Mapping[str, Path]) -> dict[str, Source]:
    """Data files by name: the packaged ones, and `<kind>_<name><suffix>` of the folders of other packages."""
    ours = {name: Source(name, PACKAGED, partial(Path, path)) for name, path in packaged.items()}
    claims = []
    for point in installed_entry_points(DATA_FILES):
        # A module that is not there brings no files.
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(point.module)
            folder = Path(spec.origin).parent if spec is not None and spec.origin else None
            for path in sorted(folder.glob(f"{kind}_*{suffix}")) if folder is not None else ():
                name = path.stem.removeprefix(f"{kind}_")
                claims.append(Source(name, _origin(point), partial(Path, path)))
    return with_claims(kind, ours, claims)


def with_claims(kind: str, packaged: Mapping[str, S], claims: Iterable[S]) -> dict[str, S]:
    """All names: the packaged ones, and each other that one package alone claims.

    What else claims a name is kept under "NAME@PACKAGE" with the problem, so that it harms only itself.
    """
    sources_of = dict(packaged)
    claims = [_named_well(kind, source) for source in claims]
    by_name: dict[str, list[S]] = {}
    for source in claims:
        by_name.setdefault(source.name, []).append(source)
    for name, sources in sorted(by_name.items()):
        if (name not in packaged and len(sources) == 1) or any(source.problem for source in sources):
            sources_of[name] = sources[0]
            continue
        owners = [packaged[name].origin] if name in packaged else sorted(s.origin for s in sources)
        for source in sources:
            others = ", ".join(owner for owner in owners if owner != source.origin) or source.origin
            refused = f"{name}@{source.origin}"
            problem = (
                f"its name {name!r} is also that of a {kind} of {others}. Rename the entry point, or "
                f"uninstall {source.origin}."
            )
            sources_of[refused] = replace(source, name=refused, problem=problem)
    return sources_of


def _named_well(kind: str, source: S) -> S:
    """The source; under a name that can be shown, and with the problem, where its own could not."""
    if _NAME.fullmatch(source.name):
        return source
    problem = f"expected a name of letters, digits and '._+-', got {shown(source.name)!r}. Rename the {kind}."
    return replace(source, name=f"{shown(source.name)}@{source.origin}", problem=problem)


def load_source(kind: str, source: Source, where: str, load: Callable[[], Any]) -> Any:
    """Import what a name stands for.

    Raises:
        ConfigError: it has a problem, or cannot be imported; `where` names the file or package.
    """
    if source.problem:
        raise ConfigError(f"{kind} {source.name!r} ({where}) cannot be used: {source.problem}")
    try:
        return load()
    # A plugin may raise anything at import, or end the process; it must harm only itself and be named.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{kind} {source.name!r} ({where}) cannot be imported: {type(error).__name__}: {error}"
        ) from error


def load_named(kind: str, name: str, sources: Mapping[str, Source]) -> Any:
    """What a name stands for, or the path of its file.

    Raises:
        UnknownNameError: there is no such name; near matches are suggested.
        ConfigError: it cannot be imported or its name is taken; its package is named.
    """
    if name not in sources:
        raise UnknownNameError(kind, name, (n for n, source in sources.items() if not source.problem))
    source = sources[name]
    assert source.load is not None
    return load_source(kind, source, f"of {source.origin}", source.load)


def load_all(names: Iterable[str], load: Callable[[str], R]) -> dict[str, R | ConfigError]:
    """What each name stands for, in the names' order; the error where that cannot be used."""
    loaded: dict[str, R | ConfigError] = {}
    for name in sorted(names):
        try:
            loaded[name] = load(name)
        except ConfigError as error:
            loaded[name] = error
    return loaded


def usable(names: Iterable[str], load: Callable[[str], Any]) -> tuple[str, ...]:
    """The names of what can be loaded, sorted; the others say why when they are asked for by name."""
    return tuple(name for name, got in load_all(names, load).items() if not isinstance(got, ConfigError))


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Names of one kind of thing, each imported when it is first used.

    Attributes:
        kind: what the names stand for ("probe").
        group: entry-point group of other packages.
        packaged: name -> "module:object" of what comes with compact_bench, in order.
        expected, accepts: what a loaded object must be, in words, and whether it is.
    """

    kind: str
    group: str
    packaged: Mapping[str, str]
    expected: str
    accepts: Callable[[Any], bool]

    def sources(self) -> Mapping[str, Source]:
        """All names, the packaged ones first, without importing anything."""
        ours = {
            name: Source(name, PACKAGED, partial(pkgutil.resolve_name, target))
            for name, target in self.packaged.items()
        }
        return with_claims(self.kind, ours, plugins(self.group))

    def get(self, name: str) -> T:
        """Import one.

        Raises:
            UnknownNameError, ConfigError: see `load_named`; it is something else.
        """
        sources = self.sources()
        entry: T = load_named(self.kind, name, sources)
        if not self.accepts(entry):
            where = f"{self.kind} {name!r} (of {sources[name].origin})"
            raise ConfigError(f"{where}: expected {self.expected}, got {entry!r}.")
        return entry

    def call(self, name: str, use: Callable[[T], R]) -> R:
        """Use what a name stands for.

        Raises:
            UnknownNameError: there is no such name.
            PluginError: it is of another package, and cannot be imported or failed; both are named.
        """
        source = self.sources().get(name)
        if source is None or source.origin == PACKAGED:
            return use(self.get(name))
        try:
            return use(self.get(name))
        except CompactBenchError as error:
            raise PluginError(str(error)) from error
        except Exception as error:
            where = f"{self.kind} {name!r} (of {source.origin})"
            raise PluginError(f"{where} failed: {type(error).__name__}: {error}") from error

    def code_mark(self, name: str) -> str:
        """`code_hash` of what another package brings; "" for the rest, whose versions tell it apart."""
        return "" if name in self.packaged else self.code_hash(name)

    def code_hash(self, name: str) -> str:
        """Hash of the file that holds it, which distinguishes results of other code.

        Raises:
            UnknownNameError, ConfigError: see `get`.
        """
        self.get(name)
        module = self.packaged.get(name, "").partition(":")[0] or next(
            point.module for point in installed_entry_points(self.group) if point.name == name
        )
        file = sys.modules[module].__file__
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""
