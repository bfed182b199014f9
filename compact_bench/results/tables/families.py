"""Which rows of a table are compared, and which comparisons are corrected together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compact_bench.core.records import row_label
from compact_bench.results.statistics.families import Correction, corrected_p_values
from compact_bench.results.statistics.samples import Sample
from compact_bench.results.statistics.verdicts import can_show
from compact_bench.results.tables.cells import Benchmarks, group_sample
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.measuring import PLAIN, Yardstick, compare
from compact_bench.results.tables.planned_pairs import ComparisonSpec
from compact_bench.results.tables.rows import RowRuns, rows_by_name
from compact_bench.results.tables.spec import GroupSpec, TableSpec

Groups = Mapping[str, tuple[GroupSpec, Benchmarks]]


def yardsticks(spec: TableSpec, rows: Sequence[RowRuns], groups: Groups) -> dict[str, Yardstick]:
    """What the comparisons of each group are measured with, by the rows that the table's file defines."""
    return {name: _yardstick(spec, rows, benchmarks) for name, (_, benchmarks) in groups.items()}


def _yardstick(spec: TableSpec, rows: Sequence[RowRuns], benchmarks: Benchmarks) -> Yardstick:
    if spec.margin is None:
        return PLAIN
    known, missing = _bounds(spec, rows, benchmarks)
    # Rows that are far enough from one another say so whatever the others would.
    if len(known) > 1 and can_show(known, spec.margin):
        return Yardstick(spec.margin)
    if missing:
        return Yardstick(spec.margin, unknown="; ".join(missing))
    return Yardstick(spec.margin, can_show(known, spec.margin))


def _bounds(
    spec: TableSpec, rows: Sequence[RowRuns], benchmarks: Benchmarks
) -> tuple[list[Sample], list[str]]:
    """Values of the rows that bound a group, and in words which of them have none."""
    by_name = rows_by_name(rows)
    titles = {row_label(row.method, row.suffix): row.title for row in spec.rows}
    titles |= {name: row.row.title for name, row in by_name.items()}
    known, missing = [], []
    for names in spec.bounds:
        row = next((by_name[name] for name in names if name in by_name and by_name[name].runs), None)
        if row is None:
            either = " or ".join(titles.get(name, name) for name in names)
            missing.append(f"{either} was not run")
        elif isinstance(sample := group_sample(list(row.runs.values()), benchmarks), str):
            missing.append(f"{row.row.title}: {sample}")
        else:
            known.append(sample)
    return known, missing


def compare_rows(
    spec: TableSpec, rows: Sequence[RowRuns], groups: Groups, measured_with: Mapping[str, Yardstick]
) -> tuple[Comparison, ...]:
    """Compare the reference row with every other row, and the other planned pairs, on every group's mean.

    Seeds are paired; a row that was never trained has the same scores under every seed. Items are paired by
    id. See `in_families` for the corrections.

    Returns:
        Group by group: the planned pairs in their order, as far as both rows are here, then the reference
        against the other rows.
    """
    by_name = rows_by_name(rows)
    planned: list[tuple[RowRuns, RowRuns, ComparisonSpec | None]] = [
        (by_name[pair.row], by_name[pair.against], pair)
        for pair in spec.planned
        if {pair.row, pair.against} <= by_name.keys()
    ]
    if spec.reference in by_name:
        reference = by_name[spec.reference]
        known = {reference.row.name, *(b.row.name for a, b, _ in planned if a is reference)}
        planned += [(reference, row, None) for row in rows if row.row.name not in known]
    primary = {(pair, group) for p in [spec.primary] if p for pair in p.pairs for group in p.groups}
    comparisons = []
    for name, (group, benchmarks) in groups.items():
        for row, against, pair in planned:
            stick = measured_with.get(name, PLAIN)
            result = compare(row, against, group.short or group.title, benchmarks, stick)
            in_words = pair is not None or not spec.planned
            detectable = pair is not None and pair.detectable
            is_primary = pair is not None and ((pair.row, pair.against), name) in primary
            comparisons.append(
                replace(result, in_words=in_words, tells_detectable=detectable, is_primary=is_primary)
            )
    extra = {row.row.name for row in rows if row.row.kind == "extra"}
    return in_families(comparisons, extra)


def in_families(comparisons: Sequence[Comparison], extra: set[str]) -> tuple[Comparison, ...]:
    """Every comparison of a table with its family's correction.

    The primary ones are one family by Holm. The others that the table's file defines are one family by
    Benjamini and Hochberg; a row that `--methods` adds is corrected with them, but neither they nor other
    added rows with it. So no p value depends on which rows were asked for besides.

    Args:
        extra: names of the rows that the table's file does not define.
    """
    primary = corrected([c for c in comparisons if c.is_primary], "Holm")
    known = {_test(c): c for c in primary if c.p_corrected is not None}
    rest = [c for c in comparisons if not c.is_primary and _test(c) not in known]
    own = [c for c in rest if not {c.row, c.against} & extra]
    found = {_place(c): c for c in (*primary, *corrected(own, "Benjamini-Hochberg"))}
    for name in extra:
        added = [c for c in rest if name in (c.row, c.against)]
        found |= {
            _place(c): c
            for c in corrected([*own, *added], "Benjamini-Hochberg")
            if name in (c.row, c.against)
        }

    def with_family(comparison: Comparison) -> Comparison:
        # The same students under another row's name are the same test: it is counted, and told, once.
        if (same := known.get(_test(comparison))) is not None:
            family = {name: getattr(same, name) for name in ("p_corrected", "correction", "family")}
            return replace(comparison, **family)
        return found[_place(comparison)]

    return tuple(map(with_family, comparisons))


def corrected(comparisons: Sequence[Comparison], correction: Correction) -> tuple[Comparison, ...]:
    """The comparisons of one family with their correction.

    Those of the same students count once, those of groups that cannot show a difference not at all.
    """
    tests = {_test(c): p for c in comparisons if (p := c.p_value) is not None and c.can_show}
    found = dict(zip(tests, corrected_p_values(list(tests.values()), correction), strict=True))
    return tuple(
        replace(c, p_corrected=found.get(_test(c)), correction=correction, family=max(1, len(tests)))
        for c in comparisons
    )


def _test(comparison: Comparison) -> tuple[frozenset[str], str]:
    """What makes two comparisons one test: the same students on both sides, in one group."""
    names = comparison.students if all(comparison.students) else comparison.measured
    return frozenset(names), comparison.group


def _place(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.row, comparison.against, comparison.group
