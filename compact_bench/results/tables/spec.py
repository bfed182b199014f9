"""What a table shows: rows, column groups and planned comparisons, as data files without code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.paths import package_folder
from compact_bench.core.records import RunRecord
from compact_bench.core.registry import Source, file_sources, load_named, usable
from compact_bench.core.settings import (
    Group,
    Rate,
    RunSettings,
    Seed,
    Strict,
    merged,
    read_toml,
)
from compact_bench.core.written.fields import Heading, Name, Title
from compact_bench.core.written.names import shown
from compact_bench.core.written.toml_files import user_path
from compact_bench.evaluation.probes.registry import measure_column
from compact_bench.results.tables.planned_pairs import (
    ComparisonSpec,
    ControlSpec,
    KnownNames,
    PrimarySpec,
    check_pairs,
)


def record_path(path: str) -> str:
    """A path in a record ("probes.weight_change").

    Raises:
        ValueError: records have no such part; near matches are suggested.
    """
    part, known = path.partition(".")[0], [field.name for field in fields(RunRecord)]
    if part not in known:
        raise ValueError(str(UnknownNameError("part of a record", part, known)))
    return path


class RowSpec(Strict):
    """One row, or one row per teacher.

    Attributes:
        title: how the row is named; "{variant}" stands for the teacher.
        kind: "method" is one row; "each_teacher" one row per teacher; "best_teacher" repeats the row of
            the teacher that is chosen by generated answers to validation questions.
        variant: a registered variant of the method ("no-consensus"), whose values its runs have.
        variant_suffix: end of the runs' variant, which distinguishes several rows of one method.
        settings: nested settings that a run of this row needs; "{variant}" stands for the teacher.
        learning_rate_times: factor of the learning rate that the row would have; such a row is not tuned.
        seeds_plus: added to every seed of its runs, which stand beside the other rows' runs of the seeds
            without it: the same method under other draws.
        epochs_times_teachers: whether a run of this row trains K times the epochs (equal tokens).
        profiles: profiles that plan this row; empty for all. Elsewhere it shows only if run.
        requires: "truth" leaves it out where that is not known.
    """

    method: Title
    title: Title
    kind: Literal["method", "each_teacher", "best_teacher"] = "method"
    variant: Title = ""
    variant_suffix: Title = ""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    learning_rate_times: Rate = 1.0
    seeds_plus: Seed = 0
    epochs_times_teachers: bool = False
    profiles: tuple[str, ...] = ()
    requires: Literal["", "truth"] = ""

    @model_validator(mode="after")
    def _one_suffix(self) -> RowSpec:
        if self.variant and self.variant_suffix:
            raise ValueError("expected either variant or variant_suffix")
        others = {section: values for section, values in self.settings.items() if section != "method"}
        try:
            merged(RunSettings(), others, "settings")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def suffix(self) -> str:
        """What the runs' variant ends in: it stands alone, or behind the teacher's name."""
        if not self.variant:
            return self.variant_suffix
        return self.variant if self.kind == "method" else f":{self.variant}"

    @property
    def selector(self) -> str:
        """What names the row's runs on the command line ("compact[no-consensus]")."""
        return f"{self.method}[{self.variant}]" if self.variant else self.method

    def planned_in(self, profile: str | None, has_truth: bool) -> bool:
        """Whether `reproduce` runs this row; no profile counts as all of them."""
        if self.requires and not has_truth:
            return False
        return not self.profiles or profile is None or profile in self.profiles


class MeasureSpec(Strict):
    """One column that is no benchmark.

    Attributes:
        probe: the probe whose measure of this name it is, which says all that the column does not; or "".
        source: where a record has it ("probes.weight_change"); a mapping there gives `value` and `items`.
        items_source: where the record has its per-item values, or ""; items that are null are left out.
        weights_source: where the record has the items' weights in the mean, or "".
        ids_source: where the record has the items' ids, which pair seeds and rows; "" pairs by place.
        unit: "nats", "ratio", "share" (in [0, 1]), "steps", "tokens" or "seconds"; of any other, four
            digits are shown.
    """

    name: Annotated[Title, Field(min_length=1)]
    probe: Title = ""
    title: Title
    source: Title
    items_source: Title = ""
    weights_source: Title = ""
    ids_source: Title = ""
    unit: Title

    @model_validator(mode="before")
    @classmethod
    def _as_its_probe_says(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("probe"):
            return data
        return measure_column(str(data["probe"]), str(data.get("name"))) | data

    @field_validator("source", "items_source", "weights_source", "ids_source")
    @classmethod
    def _is_of_a_record(cls, path: str) -> str:
        return path and record_path(path)


class GroupSpec(Strict):
    """Columns that belong together.

    Attributes:
        name: group name; of a benchmark group, the group that the suite's benchmarks name.
        short: heading where there is little room.
        kind: "benchmarks" takes the suite's benchmarks of this group, "measures" the columns below, "changes"
            has a column for every compared group: its mean relative to the reference row's, minus 1.
        mean: whether a column with the mean over the group's benchmarks is added.
        compared: whether the mean is compared with the reference row.
        summary: whether the first of the columns stands in the table's summary too.
        note: one sentence under the table.
        requires: "truth" leaves the group out where it is not known which rationales are right.
    """

    name: Name
    title: Title
    short: Title = ""
    kind: Literal["benchmarks", "measures", "changes"]
    mean: bool = False
    compared: bool = False
    columns: tuple[MeasureSpec, ...] = ()
    summary: bool = False
    note: Title = ""
    requires: Literal["", "truth"] = ""

    @model_validator(mode="after")
    def _a_group_of_benchmarks_is_known(self) -> GroupSpec:
        if self.kind == "benchmarks" and self.name not in (known := get_args(Group)):
            raise ValueError(str(UnknownNameError("group of benchmarks", self.name, known)))
        if (self.kind == "measures") != bool(self.columns):
            raise ValueError("columns: expected them for kind 'measures', and for no other")
        return self


class PaperSpec(Strict):
    """What the paper reports, where it is known.

    Attributes:
        place: where in that version of it.
        values: column name -> value in inner units; a column not here is "not available".
        groups: names of the column groups that show the row; empty for all.
    """

    title: Title
    version: Title
    place: Title
    values: dict[str, float] = Field(default_factory=dict)
    groups: tuple[str, ...] = ()


class TableSpec(Strict):
    """A whole table.

    Attributes:
        numbering: what the number refers to.
        reference: row that the others are compared with; None where it is left out (a file names one).
        margin: accuracies that differ by less are called equivalent, in [0, 1]; None: no equivalence is
            ever said.
        primary: the comparisons that the table is made for; None: all of them are exploratory.
        bounds: rows that say whether a group can show anything: where all lie within the margin of one
            another, it cannot. Each is a list of names of which the first that has runs is taken.
        unlisted_rows: which methods that the table does not list get rows: those that another table of the
            command gets by name, and with `--methods stored` those with runs in the store ("stored"), or only
            those requested by name ("requested").
    """

    number: Name
    title: Heading
    numbering: Title
    reference: Heading | None
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    primary: PrimarySpec | None = None
    bounds: tuple[Annotated[tuple[Title, ...], Field(min_length=1)], ...] = ()
    unlisted_rows: Literal["stored", "requested"] = "stored"
    rows: tuple[RowSpec, ...] = Field(min_length=1)
    groups: tuple[GroupSpec, ...] = Field(min_length=1)
    comparisons: tuple[ComparisonSpec, ...] = ()
    controls: tuple[ControlSpec, ...] = ()
    paper: tuple[PaperSpec, ...] = ()

    @property
    def planned(self) -> tuple[ComparisonSpec, ...]:
        """The pairs that are told in words: the primary ones, then the others, in the file's order."""
        pairs = self.primary.pairs if self.primary else ()
        first = (ComparisonSpec(row=row, against=against, detectable=True) for row, against in pairs)
        return (*first, *self.comparisons)

    @model_validator(mode="before")
    @classmethod
    def _chooses_by_one_rule(cls, data: Any) -> Any:
        if isinstance(data, dict) and (given := [f for f in ("selection", "selection_text") if f in data]):
            raise ValueError(
                f"{' and '.join(given)}: expected no such line, as every table chooses the best teacher by "
                "one rule: the accuracy of generated answers to the validation questions, ties to fewer "
                "tokens (docs/statistics.md, Choosing). Take it out."
            )
        return data

    @model_validator(mode="after")
    def _names_are_unique(self) -> TableSpec:
        columns = [column.name for group in self.groups for column in group.columns]
        rows = [(row.method, row.kind, row.suffix) for row in self.rows]
        groups = [group.name for group in self.groups]
        for what, names in (("column", columns), ("row", rows), ("group", groups)):
            twice = sorted({str(name) for name in names if names.count(name) > 1})  # type: ignore[arg-type]
            if twice:
                raise ValueError(f"{what} given twice: {', '.join(twice)}")
        known = {*(row.selector for row in self.rows), *(row.method for row in self.rows)}
        known |= {f"{row.method}[{row.variant_suffix}]" for row in self.rows}
        if self.reference and not {self.reference, self.reference.partition("[")[0]} & known:
            raise ValueError(str(UnknownNameError("row as reference", self.reference, known)))
        strange = sorted({name for paper in self.paper for name in paper.groups} - set(groups))
        if strange:
            raise ValueError(f"paper: no group is called {', '.join(strange)}; there are {', '.join(groups)}")
        return self

    @model_validator(mode="after")
    def _pairs_are_of_rows_and_groups(self) -> TableSpec:
        exact = {row.selector for row in self.rows if row.kind == "method" and not row.variant_suffix}
        by_teacher = {row.method for row in self.rows if row.kind != "method" or row.variant_suffix}
        compared = [group.name for group in self.groups if group.compared]
        known = KnownNames(frozenset(exact), frozenset(by_teacher), tuple(compared))
        check_pairs(known, self.primary, self.comparisons, self.controls)
        known.check_rows("bounds", [name for names in self.bounds for name in names])
        if self.bounds and (self.margin is None or len(self.bounds) < 2):
            raise ValueError(
                "bounds: expected at least two rows, and `margin` beside them (what counts as too close)"
            )
        return self


def _sources(kind: str) -> dict[str, Source]:
    package = package_folder()
    folders = (package / "_paper_tables", package.parent / "paper_tables")
    files = next((matches for folder in folders if (matches := sorted(folder.glob(f"{kind}_*.toml")))), [])
    return file_sources(kind, ".toml", {path.stem.removeprefix(f"{kind}_"): path for path in files})


def definition_names(kind: str) -> tuple[str, ...]:
    """Names of the definitions of a kind, those that cannot be used too."""
    return tuple(_sources(kind))


def definition_file(kind: str, name: str) -> Path:
    """The file of a definition.

    Args:
        kind: "table" or "sweep".
        name: a packaged one ("2", "table_2"), or the path of a TOML file.

    Raises:
        UnknownNameError: there is no such definition.
        ConfigError: there is no such file, or two packages bring one of this name.
    """
    if name.endswith(".toml"):
        path = user_path(name)
        if not path.is_file():
            raise ConfigError(f"expected a definition of a {kind} in {shown(name)}, found no such file.")
        return path
    file: Path = load_named(kind, name.removeprefix(f"{kind}_"), _sources(kind))
    return file


def table_names() -> tuple[str, ...]:
    """Numbers of the tables of this package and of others."""
    return usable(definition_names("table"), load_table_spec)


def load_table_spec(number: str | int | Path) -> TableSpec:
    """Read and check a table's definition.

    Args:
        number: 2, "2", "table_2", or the path of a TOML file.

    Raises:
        UnknownNameError: there is no such table.
        ConfigError: the file is no TOML or has wrong fields; all of them are listed.
    """
    return read_toml(definition_file("table", str(number)), TableSpec)
