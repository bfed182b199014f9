"""Comparisons and controls from made-up records: numbers, families, and the words used for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from statsmodels.stats.multitest import multipletests

from compact_bench.core.records import RunRecord
from compact_bench.results.report.markdown import comparisons_markdown
from compact_bench.results.report.sections.findings import (
    controls_markdown,
    detectable_markdown,
    exploratory_markdown,
    sentences_markdown,
    table_detectable_sentence,
)
from compact_bench.results.report.words import control_sentence, detectable_sentence, sentence
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.controls import Control
from compact_bench.results.tables.spec import TableSpec, load_table_spec
from tests.unit.synthetic import SUITE, TEACHERS, all_records, evaluation, made_contrast, record

SPEC = load_table_spec(2)
COMPACT, UNIFORM, RELEASED = "COMPACT (paper)", "Uniform weights", "COMPACT (released code)"
CONTROL = {"row": "single_teacher[alpha]", "against": "uniform", "group": "in_distribution"}

PRIMARY = {"row": "compact", "against": ["uniform"], "groups": ["in_distribution"]}


def spec_with(**changes: Any) -> TableSpec:
    return TableSpec.model_validate({**SPEC.model_dump(), **changes})


def build(records: list[RunRecord], spec: TableSpec = SPEC) -> Table:
    return build_table(spec, records, SUITE, teachers=TEACHERS)


def scored(method: str, seed: int, right: int, items: int = 40, variant: str = "") -> RunRecord:
    """A run that answers the first `right` SVAMP items."""
    run = record(method, variant, seed)
    scores = [1.0] * right + [0.0] * (items - right)
    return dataclasses.replace(run, evaluations={**run.evaluations, "svamp": evaluation("svamp", scores)})


def pair(table: Table, row: str, against: str, group: str = "ID") -> Comparison:
    return next(c for c in table.comparisons if (c.row, c.against, c.group) == (row, against, group))


def test_a_clear_difference_is_said_and_a_small_one_is_not() -> None:
    runs = [scored("compact", s, 38) for s in (1, 2)] + [scored("uniform", s, 0) for s in (1, 2)]
    table = build(runs + [scored("compact_released", s, 37) for s in (1, 2)])
    found = pair(table, "compact", "uniform")
    assert found.shown and found.verdict == "above"
    assert found.effect == pytest.approx(0.95)
    assert sentence(found).startswith(f"ID: above: {COMPACT} minus {UNIFORM} is +95.0 pp [")
    assert "], n = 2 seeds, 40 items (p = " in sentence(found)
    close = pair(table, "compact", "compact_released")
    assert close.low is not None and close.low <= 0.0
    assert not close.shown and close.verdict == "inconclusive"
    assert sentence(close).startswith(f"ID: inconclusive: {COMPACT} minus {RELEASED} is +2.5 pp [")
    assert any("2 seeds only" in note for note in table.notes)
    assert not any("win" in sentence(c).lower().split() for c in table.comparisons)


def test_the_untrained_row_is_compared_under_every_seed() -> None:
    table = build([record("zero_shot", seed=1, rate=0.1), *[record("compact", seed=s) for s in (1, 2, 3)]])
    assert pair(table, "compact", "zero_shot").seeds == 3
    assert not any("Zero-shot" in note and "not run" in note for note in table.notes)


def test_rows_are_paired_by_seed_and_item() -> None:
    ours, theirs = scored("compact", 1, 2, items=3), scored("uniform", 1, 1, items=2)
    found = pair(build([ours, record("compact", seed=2), theirs]), "compact", "uniform")
    assert (found.seeds, found.items) == (1, 2)
    assert found.effect == pytest.approx(0.5)
    assert found.contrast is None and found.verdict == "no verdict"
    assert "these trained students only" in sentence(found)
    other = pair(build([ours, record("uniform", seed=2)]), "compact", "uniform")
    assert other.reason == "no seed in common"
    assert "not compared" in sentence(other) and other.verdict == "not compared"


def test_the_spread_over_seeds_is_that_of_the_paired_difference() -> None:
    """Both rows move together from seed to seed, so the pair's difference hardly does."""
    table = build(
        [scored("compact", s, 10 + 5 * s) for s in (1, 2)] + [scored("uniform", s, 8 + 5 * s) for s in (1, 2)]
    )
    assert pair(table, "compact", "uniform").seed_sd == pytest.approx(0.0)
    table = build(
        [scored("compact", s, 20) for s in (1, 2)] + [scored("uniform", s, 8 + 4 * s) for s in (1, 2)]
    )
    assert pair(table, "compact", "uniform").seed_sd == pytest.approx(0.1 / 2**0.5)


def test_a_family_counts_every_pair_of_runs_once() -> None:
    table = build(all_records((1, 2)))
    best = pair(table, "compact", "best single_teacher")
    source = pair(table, "compact", "single_teacher[alpha]")
    assert best.measured == source.measured == ("compact", "single_teacher[alpha]")
    assert (best.contrast, best.p_corrected) == (source.contrast, source.p_corrected)
    # What has no runs (the published baselines here) counts nothing.
    # compact against five rows; compact_released against uniform, the best teacher and the student itself.
    tested = [c for c in table.comparisons if c.p_value is not None]
    family = {(c.measured, c.group): c.p_value or 1.0 for c in tested}
    primary = {(c.measured, c.group) for c in tested if c.is_primary}
    assert len(family) == (5 + 3) * 3 and len(primary) == 2 * 3, "against uniform and the best teacher"
    # What is primary is no exploratory test too, as alpha's row is, which is the best teacher's.
    assert {c.family for c in table.comparisons} == {6, 24 - 6}

    for places, method in ((primary, "holm"), (family.keys() - primary, "fdr_bh")):
        order = sorted(places)
        expected = dict(zip(order, multipletests([family[p] for p in order], method=method)[1], strict=True))
        found = {(c.measured, c.group): c.p_corrected for c in tested}
        assert {p: found[p] for p in order} == pytest.approx(expected)


def test_planned_pairs_lead_and_unplanned_ones_are_numbers_only() -> None:
    table = build(all_records((1, 2)))
    own = [c for c in table.comparisons if c.group == "ID"]
    told = [(c.row, c.against) for c in own if c.in_words]
    best = {"single_teacher[best]": "best single_teacher"}
    assert told == [(p.row, best.get(p.against, p.against)) for p in SPEC.planned]
    assert [(c.row, c.against) for c in own][: len(told)] == told
    assert [c.against for c in own if not c.in_words] == [
        "single_teacher[alpha]",
        "single_teacher[beta]",
        "compact_released",
    ]
    assert all(
        c.in_words for c in build(all_records((1,)), spec_with(comparisons=(), primary=None)).comparisons
    )


def test_the_best_teacher_is_not_compared_with_itself() -> None:
    spec = spec_with(comparisons=[{"row": "single_teacher[alpha]", "against": "single_teacher[best]"}])
    found = pair(build(all_records((1, 2)), spec), "single_teacher[alpha]", "best single_teacher")
    assert found.effect is None and found.reason == "both rows are the same runs"


def words(effect: float, low: float | None, high: float | None, p: float, **more: Any) -> Comparison:
    values = {"seeds": 5, "items": 1200, **more}
    found = None if low is None or high is None else made_contrast(effect, low, high, p)
    return Comparison("a", "b", "A", "B", "ID", effect, found, p_corrected=p, correction="Holm", **values)


def test_the_words_for_what_could_have_been_detected() -> None:
    found = words(0.01, -0.01, 0.03, 0.4, seeds=3, family=45)
    found = dataclasses.replace(found, contrast=made_contrast(0.01, -0.01, 0.03, 0.4, seed_sd=0.007))
    assert found.detectable and found.detectable_corrected
    assert detectable_sentence(found) == (
        "ID: the smallest true difference between A and B that such seeds and items detect is "
        f"{found.detectable * 100:.1f} pp (80 % power, two-sided 5 %, n = 3 seeds, 1,200 items); "
        f"{found.detectable_corrected * 100:.1f} pp at the strictest step of the correction (5 % / 45). "
        "Over seeds it has a standard deviation of 0.7 pp."
    )
    assert "is unknown" in detectable_sentence(words(0.0, 0.0, 0.0, 1.0))
    assert detectable_sentence(Comparison("a", "b", "A", "B", "ID", reason="not run")) == ""


def controlled(ours: int, theirs: int, **changes: Any) -> Control:
    runs = [scored("single_teacher", s, ours, variant="alpha") for s in (1, 2)]
    runs += [scored("uniform", s, theirs) for s in (1, 2)]
    (found,) = build(runs, spec_with(controls=[{**CONTROL, **changes}])).controls
    return found


def test_a_control_comes_out_only_on_the_expected_side() -> None:
    good = controlled(30, 10)
    assert good.came_out and "It came out as expected: +50.0 pp [" in control_sentence(good)
    assert "n = 2 seeds, 40 items, p = " in control_sentence(good)
    for failed in (controlled(10, 30), controlled(30, 10, expected="below"), controlled(11, 10)):
        assert not failed.came_out
        assert "It did not come out" in control_sentence(failed)
        assert "On ID this table cannot tell rows apart" in control_sentence(failed)
    assert controlled(10, 30, expected="below").came_out


def test_a_control_is_outside_the_family_and_absent_without_its_rows() -> None:
    plain, control = build(all_records((1, 2))), spec_with(controls=[CONTROL])
    table = build(all_records((1, 2)), control)
    assert [c.p_corrected for c in table.comparisons] == [c.p_corrected for c in plain.comparisons]
    other = spec_with(controls=[{**CONTROL, "row": "single_teacher[nobody]"}])
    assert build(all_records((1, 2)), other).controls == ()
    (unmeasured,) = build([record("uniform")], control).controls
    assert not unmeasured.came_out and "Not measured (" in control_sentence(unmeasured)


def test_exploratory_words_name_sides_and_sizes_and_their_family() -> None:
    spec = spec_with(primary=None)
    table = build(all_records((1, 2)), spec)
    lines = exploratory_markdown(table)
    heads = [line for line in lines if line.startswith("**")]
    assert heads[0] == f"**{COMPACT}** compared with 1 row:" and len(heads) == 2
    told = [c for c in table.comparisons if c.in_words and c.p_value is not None]
    assert any(f"Benjamini and Hochberg over {told[0].family} of them" in line for line in lines)
    assert exploratory_markdown(dataclasses.replace(table, comparisons=())) == []
    of_row = [c for c in told if (c.row, c.group) == ("compact_released", "ID")]
    ends: dict[int, dict[str, Any]] = {
        0: {"effect": 0.123, "contrast": made_contrast(0.123, 0.1, 0.2), "p_corrected": 0.01},
        1: {"effect": -0.05, "contrast": made_contrast(-0.05, -0.1, -0.01), "p_corrected": 0.01},
        2: {"effect": -0.05, "contrast": made_contrast(-0.05, -0.1, -0.01), "p_corrected": 0.2},
    }
    changed = [dataclasses.replace(c, **ends[n]) for n, c in enumerate(of_row)]
    lines = exploratory_markdown(dataclasses.replace(table, comparisons=tuple(changed)))
    rows = [c.against_title for c in of_row]
    assert lines[2] == (
        f"- ID: above {rows[0]} (+12.3 pp). Below {rows[1]} (-5.0 pp). "
        f"Inconclusive against {rows[2]} (-5.0 pp)."
    )


def test_controls_and_what_could_be_detected_are_told() -> None:
    table = build(all_records((1, 2)), spec_with(controls=[{**CONTROL, "reason": "it was made so"}]))
    controls = controls_markdown(table)
    assert controls[-1].startswith(
        "- ID: expected Single teacher: alpha above Uniform weights, as it was made so."
    )
    assert controls_markdown(dataclasses.replace(table, controls=())) == []
    lines = detectable_markdown(table)
    assert lines[0] == table_detectable_sentence(table)
    assert (
        "the primary comparisons detect true differences" in lines[0]
        and "new seeds and new items" in lines[0]
    )
    values = [c.detectable for c in table.comparisons if c.is_primary and c.group == "ID" and c.detectable]
    row = next(line for line in lines if line.startswith("| ID |"))
    assert row.startswith("| ID | 2 | 2 seeds, 40 items |")
    ends = [f"{value * 100:.1f}" for value in (min(values), max(values))]
    span = " to ".join(dict.fromkeys(ends))
    assert f"| {span} |" in row and f" {span} pp on ID (" in lines[0]
    sentences = sentences_markdown(table)
    told = [c for c in table.comparisons if c.is_primary]
    assert sentences[:2] == ["Primary:", ""]
    assert sentences[2:5] == [
        f"- {sentence(c)}" for c in told if (c.row, c.against) == ("compact", "uniform")
    ]
    assert sum("such seeds and items detect is" in line for line in sentences) == 6


def test_a_row_without_runs_is_named_once() -> None:
    lines = exploratory_markdown(build([record("compact"), record("zero_shot")]))
    found = [line for line in lines if "EDIT" in line and line.startswith(f"- {COMPACT}")]
    assert found == [f"- {COMPACT} and EDIT are not compared (EDIT: not run)."]
    assert not any("meaningless" in line for line in lines)


def test_the_numbers_of_a_comparison_stand_in_its_group_s_table() -> None:
    table = build(all_records((1, 2, 3, 4)))
    lines = comparisons_markdown(table.comparisons)
    found = pair(table, "compact", "uniform")
    assert found.detectable and found.detectable_corrected and found.seed_sd
    (row,) = [
        line for line in lines[: lines.index("## Primary: OOD")] if f"| {COMPACT} minus {UNIFORM} |" in line
    ]
    assert f"| {found.seed_sd * 100:.2f} |" in row
    assert f"| {found.detectable * 100:.2f} ({found.detectable_corrected * 100:.2f}) | 4 x 40 |" in row
    assert "Corrected by Holm over 6." in lines
    assert any(line.startswith("Corrected by Benjamini-Hochberg over 18.") for line in lines)
    assert "crossed random effects" in "\n".join(lines)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"comparisons": [{"row": "compact", "against": "unifrom"}]}, "no row is called unifrom"),
        ({"comparisons": [{"row": "compact", "against": "compact"}]}, "compared with itself"),
        ({"comparisons": [{"row": "compact", "against": "zero_shot"}] * 2}, "expected every pair once"),
        ({"comparisons": [{"row": "uniform", "against": "compact"}]}, "expected every pair once"),
        ({"primary": {**PRIMARY, "against": ["nobody"]}}, "primary: no row is called nobody"),
        ({"primary": {**PRIMARY, "against": ["compact"]}}, "primary: compact is compared with itself"),
        ({"primary": {**PRIMARY, "groups": ["drift"]}}, "primary: drift: expected a compared group"),
        ({"primary": {**PRIMARY, "groups": ["retention"] * 2}}, "groups: expected each once"),
        ({"primary": {**PRIMARY, "against": []}}, "at least 1"),
        ({"margin": 0.0}, "greater than 0"),
        ({"margin": 5}, "less than 1"),
        ({"bounds": [["zero_shot"], ["nobody"]]}, "bounds: no row is called nobody"),
        ({"bounds": [["zero_shot"]]}, "bounds: expected at least two rows"),
        ({"margin": None}, "bounds: .*`margin` beside them"),
        ({"controls": [{**CONTROL, "group": "drift"}]}, "controls: drift: expected a compared group"),
        ({"controls": [{**CONTROL, "row": "nobody"}]}, "no row is called nobody"),
    ],
)
def test_a_wrong_pair_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        spec_with(**changes)
