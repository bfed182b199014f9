"""Which rows of a table a command runs, and rows for methods that the table does not list.

Such a row is one like any other: its runs are planned for every seed, its cells have intervals, it is
compared with the reference. A method that cannot be imported, or refuses its configuration, costs only its
own row, which says why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.methods.registry import (
    OF_FILE,
    MethodSource,
    get_method,
    method_names,
    method_sources,
    split_name,
    variant_config,
)
from compact_bench.results.claims import selector
from compact_bench.results.tables.spec import RowSpec, TableSpec

ALL, LISTED, CLAIMS, STORED = "all", "table", "claims", "stored"
"""Words of `--methods`: a table's rows and all registered methods, a table's rows, all rows that methods'
claims are about, and a row that is shown for whatever else the store has runs of."""


@dataclass(frozen=True)
class TableRequest:
    """A table and which of its rows a command runs.

    Attributes:
        spec: the table; rows for methods that its definition does not list are at its end, by name.
        listed: how many rows the definition lists.
        selected: selectors of the rows that are run; the others show what the store has of them.
    """

    spec: TableSpec
    listed: int
    selected: frozenset[str]

    @property
    def listed_rows(self) -> tuple[RowSpec, ...]:
        """The rows of the table's definition."""
        return self.spec.rows[: self.listed]

    @property
    def unlisted_rows(self) -> tuple[RowSpec, ...]:
        """The rows for methods that the definition does not list."""
        return self.spec.rows[self.listed :]

    @property
    def unlisted_methods(self) -> tuple[str, ...]:
        """Registered methods that have no row in the definition."""
        listed = {row.method for row in self.listed_rows}
        return tuple(name for name in method_names() if name not in listed)

    def with_rows(self, rows: Sequence[RowSpec], *, selected: bool) -> TableRequest:
        """The table with more rows for methods that it does not list; `selected` ones are run."""
        titles = [row.title for row in self.spec.rows]
        added = []
        for row in rows:
            # Two methods may call themselves the same.
            title = f"{row.title} ({row.selector})" if row.title in titles else row.title
            titles.append(title)
            added.append(row.model_copy(update={"title": title}))
        unlisted = sorted((*self.unlisted_rows, *added), key=lambda row: row.selector)
        spec = self.spec.model_copy(update={"rows": (*self.listed_rows, *unlisted)})
        run = self.selected.union(row.selector for row in added) if selected else self.selected
        return replace(self, spec=spec, selected=run)


def request_tables(specs: Sequence[TableSpec], methods: Sequence[str] = ()) -> tuple[TableRequest, ...]:
    """Tables with the rows that `--methods` selects.

    Args:
        specs: the tables. Methods that none of them lists go to the first that shows every method's runs.
        methods: names of methods or registered variants, `ALL`, `LISTED`, `CLAIMS`; empty for every row of
            the tables. `STORED`, which runs nothing, is left to the plan.

    Raises:
        UnknownNameError: a method or variant is not registered; near matches are suggested.
    """
    names = {*methods, *(claimed_rows() if CLAIMS in methods else ())} - {STORED}
    whole = not names or bool(names & {ALL, LISTED})
    requests = []
    for spec in specs:
        selectors = frozenset(row.selector for row in spec.rows)
        requests.append(TableRequest(spec, len(spec.rows), selectors if whole else selectors & names))
    target = next((i for i, spec in enumerate(specs) if spec.unlisted_rows == "stored"), 0)
    unlisted = names - {ALL, LISTED, CLAIMS} - {row.selector for spec in specs for row in spec.rows}
    if ALL in names:
        unlisted |= set(requests[target].unlisted_methods)
    rows_of_methods = [row_for_method(name) for name in sorted(unlisted)]
    requests[target] = requests[target].with_rows(rows_of_methods, selected=True)
    return tuple(requests)


def claimed_rows() -> tuple[str, ...]:
    """Selectors of the rows that methods' claims are about; broken methods claim nothing."""
    selectors = []
    for name in method_names():
        with contextlib.suppress(ConfigError):
            for claim in get_method(name).card.claims:
                selectors += [selector(row) for row in (claim.row or name, claim.against)]
    return tuple(name for name in dict.fromkeys(selectors) if split_name(name)[0] in method_names())


def row_for_method(name: str) -> RowSpec:
    """The row of a method or registered variant ("mcc_kd", "compact[no-consensus]") that no table lists.

    Returns:
        One row, or one per teacher where the method trains on one teacher's rationales; titled by the
        method's card, or by the name where the method cannot be imported.

    Raises:
        UnknownNameError: the method or the variant is not registered.
    """
    method, variant = split_name(name)
    try:
        method_type = get_method(method)
    except UnknownNameError:
        raise
    except ConfigError:
        return RowSpec(method=method, title=name, variant=variant)
    variant_config(method, variant)
    title = (method_type.card.short or method_type.card.title) + (f" [{variant}]" if variant else "")
    teacher = method_type.config_type.model_fields.get("teacher")
    if teacher is None or not teacher.is_required():
        return RowSpec(method=method, title=title, variant=variant)
    settings = {"method": {"teacher": "{variant}"}}
    title = f"{title}: {{variant}}"
    return RowSpec(method=method, title=title, kind="each_teacher", variant=variant, settings=settings)


def methods_option(requests: Sequence[TableRequest]) -> str:
    """The value of `--methods` that makes these tables; "" where it needs none."""
    added = [row.selector for request in requests for row in request.unlisted_rows]
    sources = method_sources()
    of_files = [name for name in (*added, *_listed_methods(requests)) if _is_of_file(name, sources)]
    # A file must be named for its method to be known, whether or not a table lists it.
    added += [name for name in of_files if name not in added]
    if not added:
        return ""
    registered = next((set(r.unlisted_methods) for r in requests if r.unlisted_rows), {*sources}) - {
        *of_files
    }
    if registered <= set(added):
        return ",".join([ALL, *(name for name in added if name not in registered)])
    return ",".join([LISTED, *added])


def _listed_methods(requests: Sequence[TableRequest]) -> list[str]:
    return list(dict.fromkeys(row.method for request in requests for row in request.listed_rows))


def _is_of_file(selector_text: str, sources: Mapping[str, MethodSource]) -> bool:
    source = sources.get(split_name(selector_text)[0])
    return source is not None and source.origin == OF_FILE
