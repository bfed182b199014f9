"""Rows for methods that a table has none of: asked for by name, or found in the store.

A further row is a row like any other: its runs are planned for every seed, its cells have intervals, it is
compared with the reference. A method that cannot be imported, or refuses its configuration, costs only its
own row, which says why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from compact_bench.commands.planning import asks_for_teacher, row_runs
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import RunRecord
from compact_bench.methods.registry import (
    get_method,
    method_names,
    method_sources,
    method_variants,
    split_name,
    variant_config,
)
from compact_bench.results.claims import selector
from compact_bench.results.tables.spec import RowSpec, TableSpec, load_table_spec, table_names
from compact_bench.runs.session import Session

ALL, OWN, CLAIMS = "all", "table", "claims"
"""Names for all rows of a table and all registered methods, all rows of a table, and all rows that methods'
claims are about."""


@dataclass(frozen=True)
class TableRequest:
    """A table as it was asked for.

    Attributes:
        spec: the table, further rows at its end, by name.
        wanted: the rows whose runs are planned.
        own: how many of the rows the table has without further ones.
        problems: what a row's runs are asked for by -> why there can be none.
    """

    spec: TableSpec
    wanted: tuple[RowSpec, ...]
    own: int
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[RowSpec, ...]:
        """The rows that can have runs."""
        return tuple(row for row in self.spec.rows if row.selector not in self.problems)

    @property
    def planned(self) -> tuple[RowSpec, ...]:
        """The wanted rows that can have runs."""
        return tuple(row for row in self.wanted if row.selector not in self.problems)

    @property
    def further(self) -> tuple[RowSpec, ...]:
        """The rows that the table's definition lacks."""
        return self.spec.rows[self.own :]

    def with_rows(self, rows: Sequence[RowSpec], *, wanted: bool) -> TableRequest:
        """The same with more further rows.

        Args:
            rows: to add.
            wanted: whether their runs are planned.
        """
        titles = [row.title for row in self.spec.rows]
        named = []
        for row in rows:
            # Two methods may call themselves the same.
            title = f"{row.title} ({row.selector})" if row.title in titles else row.title
            titles.append(title)
            named.append(row.model_copy(update={"title": title}))
        further = sorted((*self.further, *named), key=lambda row: row.selector)
        spec = self.spec.model_copy(update={"rows": (*self.spec.rows[: self.own], *further)})
        return replace(self, spec=spec, wanted=(*self.wanted, *(named if wanted else ())))


def ask_tables(specs: Sequence[TableSpec], methods: Sequence[str] = ()) -> tuple[TableRequest, ...]:
    """Tables with the rows that `--methods` asks for.

    Args:
        specs: the tables. Methods that none of them has a row of go to the first that takes further rows.
        methods: names of methods or registered variants, `ALL`, `OWN`, `CLAIMS`; empty for every row of the
            tables.

    Raises:
        UnknownNameError: a method or variant is not registered; near matches are suggested.
    """
    words = {ALL, OWN, CLAIMS}
    names = tuple(dict.fromkeys([*methods, *(claimed_rows() if CLAIMS in methods else ())]))
    whole = not names or ALL in names or OWN in names
    asked = []
    for spec in specs:
        wanted = tuple(row for row in spec.rows if whole or row.selector in names)
        asked.append(TableRequest(spec, wanted, len(spec.rows)))
    listed = {row.selector for spec in specs for row in spec.rows}
    place = next((i for i, spec in enumerate(specs) if spec.further_rows == "found"), 0)
    further = [name for name in names if name not in words and name not in listed]
    if ALL in names:
        further += [name for name in unlisted(specs[place]) if name not in further]
    asked[place] = asked[place].with_rows([further_row(name) for name in sorted(further)], wanted=True)
    return tuple(asked)


def claimed_rows() -> tuple[str, ...]:
    """What the rows are asked for by that methods' claims are about; broken methods claim nothing."""
    found = []
    for name in method_names():
        with contextlib.suppress(ConfigError):
            for claim in get_method(name).card.claims:
                found += [selector(row) for row in (claim.row or name, claim.against)]
    return tuple(name for name in dict.fromkeys(found) if split_name(name)[0] in method_names())


def unlisted(spec: TableSpec) -> tuple[str, ...]:
    """Registered methods that a table has no row of.

    Args:
        spec: the table.
    """
    listed = {row.method for row in spec.rows}
    return tuple(name for name in method_names() if name not in listed)


def further_row(name: str) -> RowSpec:
    """The row of a method or registered variant that has none.

    Args:
        name: "mcc_kd" or "compact[no-consensus]".

    Returns:
        One row, or one per teacher where the method is told one; titled by the method's card, or by the name
        where the method cannot be imported.

    Raises:
        UnknownNameError: the method or the variant is not registered.
    """
    method, variant = split_name(name)
    try:
        card = get_method(method).card
    except UnknownNameError:
        raise
    except ConfigError:
        return RowSpec(method=method, title=name, variant=variant)
    variant_config(method, variant)
    title = card.short or card.title
    title += f" [{variant}]" if variant else ""
    if not asks_for_teacher(method):
        return RowSpec(method=method, title=title, variant=variant)
    told = {"method": {"teacher": "{variant}"}}
    return RowSpec(
        method=method, title=f"{title}: {{variant}}", kind="each_teacher", variant=variant, settings=told
    )


def mark_broken_rows(session: Session, asked: TableRequest) -> TableRequest:
    """A table that knows which of its rows can have no runs, because their method is broken.

    Args:
        session: suite, profile and settings.
        asked: the table.

    Raises:
        ConfigError: a method of the table's own rows refuses its settings, which is no plugin's fault.
    """
    problems = {}
    for number, row in enumerate(asked.spec.rows):
        try:
            get_method(row.method)
            if number >= asked.own:
                row_runs(session, row, session.seeds[0])
        except UnknownNameError:
            raise
        except ConfigError as error:
            problems[row.selector] = f"failed: {_named(row.method, error)}"
    return replace(asked, problems=problems)


def _named(method: str, error: ConfigError) -> str:
    """An error on one line, which names the method and the package that brings it."""
    origin = method_sources()[method].origin
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines() if line.strip()]
    text = f"{lines[0]}: {'; '.join(lines[1:])}" if len(lines) > 1 else lines[0]
    return text if origin in text else f"method {method!r} of {origin}: {text}"


def add_stored_rows(session: Session, asked: TableRequest) -> TableRequest:
    """The table with a row for every method and variant that the store has runs of under these settings.

    What another packaged table has a row of is left to that table.

    Args:
        session: suite, profile, seeds and settings.
        asked: the table; one that takes further rows only if asked for stays as it is.
    """
    if asked.spec.further_rows == "asked":
        return asked
    known = {row.selector for row in asked.spec.rows}
    elsewhere = {row.selector for name in table_names() for row in load_table_spec(name).rows}
    names = {name for record in session.store.records() for name in _names_of(session, record)}
    found = []
    for name in sorted(names - known - elsewhere):
        row = further_row(name)
        try:
            runs = [run for seed in session.seeds for run in row_runs(session, row, seed)]
        except ConfigError:
            continue
        if any(run.record is not None for run in runs):
            found.append(row)
    return asked.with_rows(found, wanted=False)


def _names_of(session: Session, record: RunRecord) -> list[str]:
    """What a run may have been asked for by: its method, or a variant of it; none for broken methods."""
    method, variant = record.key.method, record.key.variant
    same = (record.key.suite, record.key.profile, record.key.student)
    if (
        same != (session.spec.name, session.request.profile, session.student_name)
        or method not in method_names()
    ):
        return []
    try:
        variants = method_variants(method)
    except ConfigError:
        return []
    return [method, *(f"{method}[{v}]" for v in variants if variant == v or variant.endswith(f":{v}"))]


def methods_option(asked: Sequence[TableRequest]) -> str:
    """The value of `--methods` that makes these tables; "" where it needs none.

    Args:
        asked: the tables.
    """
    further = [row.selector for table in asked for row in table.further]
    if not further:
        return ""
    every = next((set(unlisted_own(table)) for table in asked if table.further), set())
    if every <= set(further):
        return ",".join([ALL, *(name for name in further if name not in every)])
    return ",".join([OWN, *further])


def unlisted_own(asked: TableRequest) -> tuple[str, ...]:
    """Registered methods that a table's own rows lack.

    Args:
        asked: the table.
    """
    return unlisted(asked.spec.model_copy(update={"rows": asked.spec.rows[: asked.own]}))
