"""Controls: pairs whose difference is known beforehand, which tell whether a table can tell rows apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench.results.stats import ALPHA
from compact_bench.results.tables.comparisons import Comparison, Groups, compare
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
        """Whether interval and test both put the row on the expected side, or on neither where none is."""
        low, high, p_value = self.comparison.low, self.comparison.high, self.comparison.p_value
        if low is None or high is None or p_value is None:
            return False
        sides = {"above": low > 0.0 and p_value < ALPHA, "below": high < 0.0 and p_value < ALPHA}
        return sides.get(self.spec.expected, not any(sides.values()))

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        comparison = self.comparison
        expected = f"{comparison.row_title} {self.spec.expected} {comparison.against_title}"
        if self._is_negative:
            expected = f"no difference between {comparison.row_title} and {comparison.against_title}"
        if self.spec.reason:
            expected += f", as {self.spec.reason}"
        head = f"{comparison.group}: expected {expected}"
        if comparison.effect is None or comparison.p_value is None:
            return f"{head}. The control was not measured ({comparison.reason})."
        facts = f"{comparison.measure}, p = {comparison.p_value:.2g} of the paired permutation test"
        if self._is_negative:
            return self._of_equal_rows(head, facts)
        if self.came_out:
            return f"{head}. The control came out: {facts}. The table can tell rows apart that differ so."
        return (
            f"{head}. The control did not come out: {facts}. This table cannot tell methods apart on "
            f"{comparison.group}: where no difference is shown there, nothing is known of it."
        )

    @property
    def _is_negative(self) -> bool:
        return self.spec.expected == "no difference"

    def _of_equal_rows(self, head: str, facts: str) -> str:
        if self.came_out:
            return f"{head}. The control came out: {facts}."
        share = f"{ALPHA * 100:.0f} %"
        return (
            f"{head}. The control did not come out: {facts}. By chance that is so of {share} of such pairs; "
            f"else a difference as large between other rows on {self.comparison.group} may be the seeds'."
        )


def measure_controls(
    specs: Sequence[ControlSpec], rows: Sequence[RowRuns], groups: Groups
) -> tuple[Control, ...]:
    """Measure the controls of which the table has both rows and the group."""
    by_name = rows_by_name(rows)
    controls = []
    for spec in specs:
        if spec.group in groups and {spec.row, spec.against} <= set(by_name):
            group, benchmarks = groups[spec.group]
            pair = compare(by_name[spec.row], by_name[spec.against], group.short or group.title, benchmarks)
            controls.append(Control(spec, pair))
    return tuple(controls)
