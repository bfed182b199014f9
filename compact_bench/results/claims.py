"""What methods' sources claim, held against the runs of some tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from compact_bench.core.errors import ConfigError
from compact_bench.methods.contract import Claim, MethodCard
from compact_bench.methods.registry import (
    get_method,
    method_names,
    method_sources,
    method_variants,
    split_name,
)
from compact_bench.results.statistics.verdicts import Verdict
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.families import corrected
from compact_bench.results.tables.measuring import compare, compare_easiest_weight, compare_spread
from compact_bench.results.tables.rows import RowRuns, rows_by_name

ClaimStatus = Literal[
    "reproduced", "contradicted", "equivalent", "inconclusive", "untestable", "untested", "no reference"
]
"""What runs say of a claim: `JudgedClaim.status` and, word by word, the reproduction page."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what the runs say of it; or a method without one.

    Attributes:
        method: registry name of the method whose card makes the claim.
        claim: None where the method has none.
        status: "reproduced" where the verdict is the claimed side, "contradicted" where it is the other one,
            "equivalent" and "inconclusive" where the verdict is; "untestable" where these runs, this suite
            or these seeds can give no verdict; "untested" where runs lack; "no reference" where the method's
            source makes no claim that rows can show.
        comparison: the difference that was measured.
        reason: why it is untested or untestable or has no reference, or "".
        table: number of the table that shows it.
        selector: what selects its rows on the command line.
    """

    method: str
    title: str
    claim: Claim | None
    status: ClaimStatus
    comparison: Comparison | None = None
    reason: str = ""
    table: str = ""
    selector: tuple[str, ...] = ()


def judge_claims(tables: Sequence[Table]) -> tuple[JudgedClaim, ...]:
    """Every registered method's claims, by the rows of these tables of one suite, profile and student.

    The p values of all claims that could be tested are one family for Holm's correction.
    """
    judged_claims = [judged for name in method_names() for judged in _of_method(name, tables)]
    tested = [judged.comparison for judged in judged_claims if judged.comparison is not None]
    with_holm = iter(corrected(tested, "Holm"))

    def with_status(judged: JudgedClaim) -> JudgedClaim:
        if judged.comparison is None or judged.claim is None:
            return judged
        comparison = next(with_holm)
        return replace(judged, comparison=comparison, status=claim_status(comparison, judged.claim))

    return tuple(map(with_status, judged_claims))


def claim_status(comparison: Comparison, claim: Claim) -> ClaimStatus:
    """What a measured comparison says of a claim."""
    return status_of(comparison.verdict, claim.expected)


def status_of(verdict: Verdict, expected: str) -> ClaimStatus:
    """What a verdict says of an expected side, "above" or "below"."""
    if verdict in ("above", "below"):
        return "reproduced" if verdict == expected else "contradicted"
    if verdict == "equivalent" or verdict == "inconclusive":
        return verdict
    return "untestable"


def _of_method(name: str, tables: Sequence[Table]) -> list[JudgedClaim]:
    try:
        card: MethodCard = get_method(name).card
    except ConfigError as error:
        origin = method_sources()[name].origin
        reason = f"the method of {origin} cannot be used: {str(error).splitlines()[0]}"
        return [JudgedClaim(name, name, None, "untested", reason=reason)]
    title = card.short or card.title
    if not card.claims:
        known = card.reproduction == "no reference"
        reason = f"source: {card.source}" if known else "its source makes no claim known here that rows show"
        return [JudgedClaim(name, title, None, "no reference", reason=reason)]
    return [_of_claim(name, title, claim, tables) for claim in card.claims]


def _of_claim(name: str, title: str, claim: Claim, tables: Sequence[Table]) -> JudgedClaim:
    names = (claim.row or name, claim.against)
    # The first table that has all of these rows, or else the first.
    whole = (table for table in tables if rows_by_name(table.filled).keys() >= set(names))
    table = next(whole, tables[0])
    rows: dict[str, RowRuns] = {}
    for called, row in (pair for some in (table, *tables) for pair in rows_by_name(some.filled).items()):
        if called not in rows or (row.runs and not rows[called].runs):
            rows[called] = row
    selectors = tuple(dict.fromkeys(map(selector, names)))
    judged = JudgedClaim(name, title, claim, "untested", table=table.number, selector=selectors)
    strange = [one for one in names if one not in rows]
    if strange:
        return replace(judged, reason=f"no runs of {' and '.join(strange)}")
    if claim.group not in table.compared:
        reason = f"the suite has no benchmarks of group {claim.group!r}"
        return replace(judged, status="untestable", reason=reason)
    group, benchmarks = table.compared[claim.group]
    pair, title = (rows[names[0]], rows[names[1]]), group.short or group.title
    if claim.statistic == "weight_on_easiest_teacher":
        comparison = compare_easiest_weight(*pair)
    elif claim.statistic == "mean":
        comparison = compare(*pair, title, benchmarks, table.yardsticks[claim.group])
    else:
        comparison = compare_spread(*pair, title, benchmarks)
    if comparison.effect is None:
        # Runs that are there and give nothing to compare are no missing runs.
        lacking = any(row.empty_reason and not _unsupported(row) for row in pair)
        return replace(judged, reason=comparison.reason, status="untested" if lacking else "untestable")
    return replace(judged, comparison=comparison)


def _unsupported(row: RowRuns) -> bool:
    """Whether the suite lacks what the row's method needs."""
    return bool(row.others) and all(run.status == "unsupported" for run in row.others)


def selector(row: str) -> str:
    """What selects a row's runs: its method, with its variant where that is a registered one."""
    method, variant = split_name(row)
    with contextlib.suppress(ConfigError):
        return row if variant in method_variants(method) else method
    return row
