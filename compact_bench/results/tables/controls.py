"""Controls: pairs whose difference is known beforehand, which tell whether a table can tell rows apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.families import Groups
from compact_bench.results.tables.measuring import PLAIN, Yardstick, compare
from compact_bench.results.tables.planned_pairs import ControlSpec
from compact_bench.results.tables.rows import RowRuns, rows_by_name


@dataclass(frozen=True)
class Control:
    """A control and what it measured.

    Attributes:
        spec: what was expected.
        comparison: the pair; its p value is not corrected, as a control is planned by itself.
    """

    spec: ControlSpec
    comparison: Comparison

    @property
    def came_out(self) -> bool:
        """Whether the row is on the expected side, or where no difference is expected, none was found."""
        if self.comparison.contrast is None:
            return False
        if self.spec.expected == "no difference":
            return not self.comparison.shown
        return self.comparison.verdict == self.spec.expected


def measure_controls(
    specs: Sequence[ControlSpec],
    rows: Sequence[RowRuns],
    groups: Groups,
    measured_with: Mapping[str, Yardstick],
) -> tuple[Control, ...]:
    """Measure the controls of which the table has both rows and the group."""
    by_name = rows_by_name(rows)
    controls = []
    for spec in specs:
        if spec.group in groups and {spec.row, spec.against} <= set(by_name):
            group, benchmarks = groups[spec.group]
            # Whether a group can show anything is what the control asks.
            stick = replace(measured_with.get(spec.group, PLAIN), can_show=True)
            sides = by_name[spec.row], by_name[spec.against]
            pair = compare(*sides, group.short or group.title, benchmarks, stick)
            controls.append(Control(spec, replace(pair, p_corrected=pair.p_value)))
    return tuple(controls)
