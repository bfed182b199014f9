"""Rows and columns that only suites with known truth have, filled from made-up records."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.markdown import table_markdown
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import RowSpec, load_table_spec
from tests.unit.synthetic import SUITE, TEACHERS, all_records, record

SPEC = load_table_spec(2)
COLUMNS = [
    "weight_on_right",
    "relative_regret",
    "auc_consensus",
    "auc_adaptability",
    "auc_difficulty",
    "auc_fused",
]
IDS = [f"q{n}" for n in range(6)]
UNIFORM = [0.25, 0.5, 0.75] * 2


def build(records: list[RunRecord], *, has_truth: bool) -> Table:
    return build_table(SPEC, records, SUITE, teachers=TEACHERS, has_truth=has_truth)


def truth(shares: list[float], auc: dict[str, list[float]] | None = None) -> dict[str, Any]:
    """A record's truth scores, as far as tables read them."""
    regret = [(1 - w) / (1 - u) for w, u in zip(shares, UNIFORM, strict=True)]
    areas = auc or {}
    return {
        "weight_on_right": sum(shares) / len(shares),
        "relative_regret": (len(shares) - sum(shares)) / (len(shares) - sum(UNIFORM)),
        "auc": {
            score: sum(areas[score]) / len(IDS) if score in areas else None
            for score in ("consensus", "adaptability", "difficulty", "fused")
        },
        "items": {
            "question_ids": IDS,
            "weight_on_right": shares,
            "uniform_share": UNIFORM,
            "relative_regret": regret,
            "uniform_regret": [1 - u for u in UNIFORM],
            "auc": areas,
        },
    }


def with_truth(run: RunRecord, scores: dict[str, Any]) -> RunRecord:
    return dataclasses.replace(run, probes={**run.probes, "truth": scores})


def test_a_suite_without_truth_has_none_of_it() -> None:
    table = build(all_records(), has_truth=False)
    titles = [row.title for row in table.rows]
    assert not [title for title in titles if "Oracle" in title or "equal tokens" in title]
    assert "truth" not in [group.name for group in table.groups]
    assert not {column.name for column in table.columns} & set(COLUMNS)


def test_a_suite_with_truth_has_the_bound_at_every_profile() -> None:
    table = build(all_records(), has_truth=True)
    titles = {row.name: row.title for row in table.rows}
    assert titles["oracle"] == "Oracle (right rationales only; a bound)"
    assert [column.name for column in table.columns_of("truth")] == COLUMNS
    assert table.cells["oracle", "svamp"].reason == "not run"
    # The two tables say the same of everything else.
    plain = build(all_records(), has_truth=False)
    assert {place: table.cells[place] for place in plain.cells} == dict(plain.cells)


@pytest.mark.parametrize(
    ("row", "profile", "has_truth", "planned"),
    [
        ({}, "lite", False, True),
        ({"requires": "truth"}, "lite", False, False),
        ({"requires": "truth"}, None, False, False),
        ({"requires": "truth"}, "lite", True, True),
        ({"requires": "truth", "profiles": ["full"]}, "lite", True, False),
        ({"profiles": ["full"]}, "lite", True, False),
        ({"profiles": ["full"]}, "full", False, True),
        ({"profiles": ["full"]}, None, False, True),
    ],
)
def test_which_rows_are_planned(
    row: dict[str, Any], profile: str | None, has_truth: bool, planned: bool
) -> None:
    spec = RowSpec.model_validate({"method": "uniform", "title": "Uniform", **row})
    assert spec.planned_in(profile, has_truth) is planned


def test_cells_have_intervals_over_questions_and_seeds() -> None:
    first = truth([0.3, 0.6, 0.9, 0.4, 0.5, 0.8], {"fused": [1.0, 0.5, 0.0, 1.0, 0.75, 1.0]})
    second = truth([0.5, 0.5, 0.9, 0.3, 0.7, 0.8], {"fused": [1.0, 1.0, 0.0, 1.0, 0.75, 1.0]})
    runs = [with_truth(record("compact", seed=s), x) for s, x in ((1, first), (2, second))]
    table = build(runs, has_truth=True)
    cell = table.cells["compact", "weight_on_right"]
    assert cell.mean == pytest.approx((3.5 + 3.7) / 12)
    assert (cell.seeds, cell.items) == (2, 6)
    assert cell.low is not None and cell.high is not None and cell.low < cell.mean < cell.high  # type: ignore[operator]
    area = table.cells["compact", "auc_fused"]
    assert (area.mean, area.items) == (pytest.approx((4.25 + 4.75) / 12), 6)
    consensus = table.cells["compact", "auc_consensus"]
    assert (consensus.mean, consensus.reason) == (None, "not measured")


def test_relative_regret_is_a_ratio_of_means_with_an_interval_over_questions() -> None:
    shares = [0.3, 0.6, 0.9, 0.4, 0.5, 0.8]
    cell = build([with_truth(record("compact"), truth(shares))], has_truth=True).cells[
        "compact", "relative_regret"
    ]
    assert cell.mean == pytest.approx((6 - 3.5) / (6 - 3.0))
    assert cell.items == 6
    assert cell.low is not None and cell.high is not None and cell.low < cell.mean < cell.high  # type: ignore[operator]


def test_equal_weights_have_a_regret_of_one_without_spread() -> None:
    cell = build([with_truth(record("uniform"), truth(UNIFORM))], has_truth=True).cells[
        "uniform", "relative_regret"
    ]
    assert [cell.mean, cell.low, cell.high] == pytest.approx([1.0, 1.0, 1.0])


def test_a_score_that_a_method_lacks_is_named_so() -> None:
    scores = {**truth(UNIFORM), "reasons": {"auc_consensus": "no such score"}}
    runs = [with_truth(record("uniform"), scores), record("zero_shot")]
    table = build(runs, has_truth=True)
    assert table.cells["uniform", "auc_consensus"].reason == "no such score"
    assert table.cells["uniform", "auc_fused"].reason == "not measured"
    assert table.cells["zero_shot", "auc_consensus"].reason == "not measured"


def test_shares_are_written_with_three_decimals() -> None:
    table = build([with_truth(record("compact"), truth([0.5, 0.5, 0.9, 0.3, 0.7, 0.8]))], has_truth=True)
    lines = table_markdown(table)
    group = lines[lines.index("## Truth scores: do the weights go to right rationales?") :]
    assert any(line.startswith("| COMPACT (paper) | 1 | 0.617 [") for line in group)
    assert next(line for line in group if line.startswith("| Row |")).count("|") == 9
    assert ",weight_on_right,truth,share,0.616666" in tables_csv([table])
