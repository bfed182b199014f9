"""What a sweep varies, runs and shows, as data files without code (`paper_tables/sweep_*.toml`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import row_label
from compact_bench.core.settings import Group, Seed, Strict, describe_validation_error, validated
from compact_bench.core.written.fields import Heading, Title
from compact_bench.core.written.names import LONGEST_NAME, shown
from compact_bench.core.written.toml_files import read_toml_file
from compact_bench.results.tables.spec import (
    GroupSpec,
    MeasureSpec,
    RowSpec,
    TableSpec,
    definition_file,
    load_table_spec,
)

DIALS = ("style", "right_answer_wrong_step", "shared_mistake", "competence", "error_rate", "filters")
"""The sweeps that `sweep all` runs, in the order of the page of findings."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST_NAME)]
Values = Annotated[tuple[float, ...], Field(min_length=1)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]


class AxisSpec(Strict):
    """What is varied.

    Attributes:
        setting: a setting of the suite's generated world.
        also: further settings of it that get the same value.
        title: with its unit where it has one.
        short: what it is called where there is little room; empty for the setting's name.
        values: those that are run unless others are requested.
    """

    setting: Title
    also: tuple[Title, ...] = ()
    title: Title
    short: Title = ""
    values: Values

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings that get a value of the axis."""
        return (self.setting, *self.also)

    @property
    def short_title(self) -> str:
        """What it is called where there is little room."""
        return self.short or self.setting


class SweepRow(Strict):
    """One line of the figure.

    Attributes:
        name: what it is asked for by.
        style: number of its colour, marker and dashes, the same whichever rows are shown.
        settings: nested settings that tell it from the method as it is.
        optional: whether it is run only on request.
        rival: whether the reference row could come out on either side of it. Of a row that is there as a
            mark (no training, right rationales only) that is known beforehand: such rows are corrected
            apart, as sure findings among the others would make false ones of them likelier.
    """

    name: Name
    method: Title
    title: Title
    style: Annotated[int, Field(ge=0)]
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    optional: bool = False
    rival: bool = True

    @property
    def label(self) -> str:
        """Name of its row in a table."""
        return row_label(self.method, self.as_table_row.suffix)

    @property
    def as_table_row(self) -> RowSpec:
        """The same as a row of a table."""
        variant = self.name if self.settings else ""
        return RowSpec(method=self.method, title=self.title, variant_suffix=variant, settings=self.settings)


class PanelSpec(Strict):
    """One pair of axes: the mean of a group of benchmarks, or a measure of the sweep's table.

    Attributes:
        measure: name of the table's column, or "".
        one_minus: whether 1 minus the table's value is shown.
        note: one sentence for the reader, or "".
    """

    name: Name
    title: Title
    y_title: Title
    group: Group | None = None
    measure: Title = ""
    one_minus: bool = False
    note: Title = ""

    @model_validator(mode="after")
    def _one_kind(self) -> PanelSpec:
        if (self.group is None) == (not self.measure):
            raise ValueError("expected either group or measure")
        return self

    @property
    def column(self) -> str:
        """Name of the table's column that it shows."""
        return self.measure or f"{self.group}_mean"


class StatementSpec(Strict):
    """A statement made before any run, which the runs then test: of one value, or of the change over all.

    It is about the sweep's first panel of a group of benchmarks. The statements of a sweep are one family.

    Attributes:
        row, against: names of rows.
        expected: where the row lies beside the other at the value `at`, or how their difference changes
            from the lowest value to the highest.
        at: a value of the axis; None for a change.
    """

    row: Name
    against: Name
    expected: Literal["above", "below", "falls", "rises"]
    at: float | None = None

    @model_validator(mode="after")
    def _one_value_or_all(self) -> StatementSpec:
        if (self.at is None) == (self.expected in ("above", "below")):
            raise ValueError("expected `at` with above or below, and without it falls or rises")
        if self.row == self.against:
            raise ValueError(f"row and against: expected two rows, got {self.row} twice")
        return self


class SweepSpec(Strict):
    """A whole sweep.

    Attributes:
        suite, profile, seeds: what is run unless others are requested.
        world: settings of the world that are the same at every value, unless the user gives others.
        table: the table whose measures the panels show, by its number or the path of its file.
        reference: name of the row that the others are compared with.
        margin, bounds: as of a table, see `TableSpec`; bounds are names of rows.
        statements: what was stated before any run.
        note: what a reader must know of the rows.
    """

    name: Name
    title: Heading
    suite: Title
    profile: Title
    seeds: Seeds
    world: dict[Title, float] = Field(default_factory=dict)
    table: Title = "2"
    axis: AxisSpec
    reference: Title
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    bounds: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = ()
    rows: Annotated[tuple[SweepRow, ...], Field(min_length=1)]
    panels: Annotated[tuple[PanelSpec, ...], Field(min_length=1)]
    statements: tuple[StatementSpec, ...] = ()
    note: Title = ""

    @model_validator(mode="after")
    def _fits_together(self) -> SweepSpec:
        names = [row.name for row in self.rows]
        for what, given in (("row", names), ("panel", [panel.name for panel in self.panels])):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ValueError(f"{what} given twice: {', '.join(twice)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: expected every seed once")
        if len(set(self.axis.values)) < len(self.axis.values):
            raise ValueError("axis.values: expected every value once")
        if self.reference not in names:
            raise ValueError(f"reference: expected one of the rows {', '.join(names)}")
        if len(set(self.axis.settings)) < len(self.axis.settings) or set(self.axis.settings) & set(
            self.world
        ):
            raise ValueError(
                "axis.also and world: expected every setting once, and none of the axis in world"
            )
        _check_names("bounds", [name for some in self.bounds for name in some], names)
        _check_names("statements", [n for s in self.statements for n in (s.row, s.against)], names)
        if self.statements and self.main_panel is None:
            raise ValueError("statements: expected a panel of a group of benchmarks")
        return self

    @property
    def main_panel(self) -> PanelSpec | None:
        """The panel that findings and statements are about: the first with a group's mean as it is."""
        return next((p for p in self.panels if p.group is not None and not p.one_minus), None)

    @property
    def reference_title(self) -> str:
        """Title of the reference row; "" where it is left out."""
        return next((row.title for row in self.rows if row.name == self.reference), "")

    def label_of(self, name: str) -> str:
        """Name of a row in the table; "" where it is left out."""
        return next((row.label for row in self.rows if row.name == name), "")

    @property
    def measures(self) -> dict[str, MeasureSpec]:
        """The measures that panels show, as the table defines them.

        Raises:
            UnknownNameError: there is no such table, or no such measure in it.
        """
        measures = [panel.measure for panel in self.panels if panel.measure]
        groups = load_table_spec(self.table).groups if measures else ()
        known = {measure.name: measure for group in groups for measure in group.columns}
        for name in measures:
            if name not in known:
                raise UnknownNameError(f"measure of table {self.table}", name, known)
        return {name: known[name] for name in measures}

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups of benchmarks that a panel shows; no other is evaluated."""
        return tuple(dict.fromkeys(panel.group for panel in self.panels if panel.group is not None))

    def choose(self, names: tuple[str, ...]) -> SweepSpec:
        """The sweep with only the rows of these names; without names, with all that are not optional.

        Raises:
            UnknownNameError: there is no such row.
        """
        known = {row.name: row for row in self.rows}
        for name in names:
            if name not in known:
                raise UnknownNameError(f"row of sweep {self.name!r}", name, known)
        chosen = [row for row in self.rows if (row.name in names if names else not row.optional)]
        # The reference may be left out; then nothing is compared.
        return self.model_copy(update={"rows": tuple(chosen)})

    def as_table(self) -> TableSpec:
        """The table that is built at every value of the axis."""
        groups = [
            GroupSpec(name=g, title=g, kind="benchmarks", mean=True, compared=True) for g in self.groups
        ]
        columns = tuple(self.measures.values())
        bounds = [tuple(label for name in some if (label := self.label_of(name))) for some in self.bounds]
        known = tuple(labels for labels in bounds if labels)
        if columns:
            groups.append(GroupSpec(name="measures", title="measures", kind="measures", columns=columns))
        return TableSpec(
            number=self.name,
            title=self.title,
            numbering="",
            # Where its row is left out, nothing is compared.
            reference=self.label_of(self.reference) or None,
            margin=self.margin,
            # Where one is left out, what the others bound is not known.
            bounds=known if len(known) == len(self.bounds) else (),
            rows=tuple(row.as_table_row for row in self.rows),
            groups=tuple(groups),
        )


def _check_names(field: str, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{field}: no row is called {', '.join(unknown)}")


def load_sweep_spec(name: str) -> SweepSpec:
    """Read and check a sweep's definition.

    A file that says `extends = "NAME"` takes from that sweep what it does not say itself, key by key.

    Args:
        name: "error_rate", "sweep_error_rate", or the path of a TOML file.

    Raises:
        UnknownNameError: there is no such sweep, or its table has no such measure.
        ConfigError: the file is no TOML or has wrong fields; all of them are listed.
    """
    file = definition_file("sweep", name)
    data = read_toml_file(file, file.name)
    if "extends" in data:
        base = data.pop("extends")
        if not isinstance(base, str):
            raise ConfigError(f"{file.name}: extends: expected the name of a sweep, got {shown(repr(base))}.")
        other = definition_file("sweep", base)
        data = read_toml_file(other, other.name) | data
    spec = validated(SweepSpec, data, file.name)
    try:
        # A wrong measure, or two rows with the same runs, is named now, not when runs are planned.
        spec.as_table()
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, file.name)) from None
    return spec
