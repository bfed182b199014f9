"""`check-statistics`: the rule behind verdicts, held against equal methods that vary as a store's runs do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import TRIAL, RunRecord
from compact_bench.data.suites import SuiteSpec
from compact_bench.results.report.markdown import document, escaped, grid
from compact_bench.results.statistics.calibration import Calibration, Plan, Rate, calibrate
from compact_bench.results.statistics.structure import Structure, structure_of
from compact_bench.results.statistics.verdicts import RULE
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.cells import group_sample
from compact_bench.results.tables.pairs import students_of, with_common_items
from compact_bench.results.tables.rows import RowRuns, rows_by_name
from compact_bench.results.tables.spec import load_table_spec

DEFAULT_MARGIN = 0.05
LIMIT = 0.06
"""What the suite itself is held to: no more false verdicts than this."""


@dataclass(frozen=True)
class StatisticsCheck:
    """How the rule behaves.

    Attributes:
        structure: what was simulated.
        plan: the comparisons of a simulated table.
        calibrations: one per number of seeds.
    """

    table: str
    suite: str
    profile: str
    structure: Structure
    plan: Plan
    calibrations: tuple[Calibration, ...]

    @property
    def rows(self) -> list[tuple[str, list[Rate]]]:
        """What was counted, in words, with its rate at every number of seeds."""
        groups = list(self.structure.groups)
        every = [c.rate(c.false_verdicts, c.comparisons) for c in self.calibrations]
        lines = [("False verdicts per comparison", every)]
        for group in groups:
            rates = [c.rate(c.false_verdicts, c.comparisons, group) for c in self.calibrations]
            lines.append((f"of them on {group}", rates))
        tables = [Rate(c.false_primary, c.tables) for c in self.calibrations]
        lines.append(("Tables with a false primary verdict (Holm)", tables))
        equivalent = [c.rate(c.false_equivalent, c.shifted) for c in self.calibrations]
        lines.append((f'False "equivalent" at a difference of {self.plan.margin * 100:.1f} pp', equivalent))
        can = [c.rate(c.can_be_equivalent, c.comparisons) for c in self.calibrations]
        lines.append(("Equal methods whose interval fits into the margin", can))
        found = [c.rate(c.found, c.shifted) for c in self.calibrations]
        lines.append((f"Power at a difference of {self.plan.difference * 100:.1f} pp, uncorrected", found))
        return lines

    def to_json(self) -> str:
        """Everything as data."""
        structure = self.structure
        data: dict[str, Any] = {
            "rule": RULE,
            "table": self.table,
            "suite": self.suite,
            "profile": self.profile,
            "rows": structure.rows,
            "primary": [structure.rows[place] for place in self.plan.primary],
            "tasks": {
                name: {
                    "items": structure.items[place],
                    "mean": structure.means[place],
                    "seed_variance": structure.seed_variance[:, place].tolist(),
                    "item_variance": structure.item_variance[:, place].tolist(),
                }
                for place, name in enumerate(structure.tasks)
            },
            "correlation_of_seeds_between_tasks": structure.correlation.tolist(),
            "tables": self.calibrations[0].tables,
            "rates": [
                {"what": what, "seeds": c.seeds, "rate": rate.share, "upper_95": rate.upper}
                for what, rates in self.rows
                for c, rate in zip(self.calibrations, rates, strict=True)
            ],
        }
        return json.dumps(data, indent=1, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """The page: what was simulated, and the rates with their upper limits."""
        structure, first = self.structure, self.calibrations[0]
        seed_sd = (structure.seed_variance**0.5 * 100).round(1)
        head = ["", *(f"{c.seeds} seeds" for c in self.calibrations)]
        primary = ", ".join(structure.rows[place] for place in self.plan.primary) or "none"
        lines = [
            "# The rule behind the verdicts, held against equal methods",
            "",
            f"Rule {escaped(RULE)}. {first.tables:,} tables of equal methods were simulated with the "
            f"variances of the runs of table {escaped(self.table)} on {escaped(self.suite)}, profile "
            f"{escaped(self.profile)} ({structure.seeds} seeds), and judged by the code that judges real "
            "ones. Every group is taken to be able to show a difference: equal methods alone would make it "
            "look unable.",
            "",
            *grid(head, [[what, *map(_rate_text, rates)] for what, rates in self.rows]),
            "",
            "In brackets the upper end of the one-sided 95 % interval (Clopper-Pearson; a table counts as "
            "one trial).",
            "",
            "## What was simulated",
            "",
            f"- Compared with {escaped(structure.rows[0])}: {escaped(', '.join(structure.rows[1:]))}.",
            f"- Primary: {escaped(primary)}.",
            "- Every row has the same true accuracy, and its own variance over seeds; one seed's effects on "
            "the tasks go together as they do in the runs.",
            "",
            *grid(
                ["Task", "Items", "Accuracy", "Seed SD of a row, pp"],
                [
                    [
                        name,
                        str(structure.items[place]),
                        f"{structure.means[place] * 100:.1f} %",
                        f"{seed_sd[:, place].min():.1f} to {seed_sd[:, place].max():.1f}",
                    ]
                    for place, name in enumerate(structure.tasks)
                ],
            ),
        ]
        return document(lines)


def _rate_text(rate: Rate) -> str:
    return f"{rate.share * 100:.1f} % ({rate.upper * 100:.1f})"


def check_statistics(
    records: Sequence[RunRecord],
    *,
    table: str,
    suite: SuiteSpec,
    profile: str,
    seeds: Sequence[int],
    tables: int,
    difference: float,
) -> StatisticsCheck:
    """Simulate a table with the variances of its runs.

    Args:
        records: of a store; those of other suites and profiles, and trials of learning rates, are left out.
        seeds: numbers of seeds to simulate.
        difference: whose power is told, in [0, 1].

    Raises:
        ConfigError: too few trained rows with two seeds have runs, a number of seeds is below 2,
            or the profile is that of trials.
        DataError: a row's runs cannot tell how it varies.
    """
    if not seeds or min(seeds) < 2:
        raise ConfigError("expected numbers of seeds of 2 or more (one seed gives no verdict), as 5,10.")
    if profile.endswith(TRIAL):
        raise ConfigError(f"expected a profile of results, got {profile}: trials of learning rates are none.")
    spec = load_table_spec(table)
    results = [record for record in records if not record.key.is_trial]
    built = build_table(spec, results, suite, profile=profile)
    rows = _trained_rows(built)
    if len(rows) < 2:
        raise ConfigError(
            f"expected at least two trained rows of table {built.number} with two or more seeds, on "
            f"{suite.name} at profile {profile}, found {', '.join(rows) or 'none'}. Make them: "
            f"compact-bench reproduce --table {built.number} --suite {suite.name} --profile {profile}."
        )
    common = {name: _samples(built, row, list(rows.values())) for name, row in rows.items()}
    structure = structure_of(common)
    names = list(rows)
    by_name = {name: row.same_as or row.row.name for name, row in rows_by_name(built.filled).items()}
    pairs = spec.primary.pairs if spec.primary else ()
    primary = [by_name.get(b, "") for a, b in pairs if by_name.get(a) == names[0]]
    plan = Plan(
        primary=tuple(sorted({names.index(name) for name in primary if name in names[1:]})),
        primary_groups=spec.primary.groups if spec.primary else (),
        margin=spec.margin or DEFAULT_MARGIN,
        difference=difference,
    )
    found = tuple(calibrate(structure, plan, count, tables) for count in seeds)
    return StatisticsCheck(built.number, suite.name, profile, structure, plan, found)


def _trained_rows(table: Table) -> dict[str, RowRuns]:
    """The rows of the table's file whose seeds vary, the reference first; equal students once."""
    own = [row for row in table.filled if row.row.kind != "extra" and not row.same_as]
    own = [row for row in own if len(row.runs) > 1 and not row.untrained]
    own.sort(key=lambda row: row.row.name != table.reference)
    once: dict[str, RowRuns] = {}
    for row in own:
        once.setdefault(students_of(row) or row.row.name, row)
    return {row.row.name: row for row in once.values()}


def _samples(table: Table, row: RowRuns, rows: Sequence[RowRuns]) -> dict[str, Any]:
    """The row's values of every compared group, of the items that all rows have."""
    found = {}
    for name, (_, benchmarks) in table.compared.items():
        common = with_common_items(benchmarks, [run for one in rows for run in one.runs.values()])
        sample = group_sample(list(row.runs.values()), common)
        if isinstance(sample, str):
            raise ConfigError(f"row {row.row.name}, {name}: {sample}; expected every task for every row.")
        found[name] = sample
    return found
