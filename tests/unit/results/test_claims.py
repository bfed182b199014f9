"""What methods' sources claim, held against runs: statuses, correction, and the page that tells them."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import f as f_distribution

from compact_bench.core.records import RunRecord
from compact_bench.methods.contract import Claim, MethodCard
from compact_bench.methods.registry import get_method, method_names
from compact_bench.results import claims as claims_module
from compact_bench.results.claims import JudgedClaim, judge_claims
from compact_bench.results.report.reproduction_page import ReproductionFacts, reproduction_markdown
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from tests.unit.command import run_command
from tests.unit.plugins import UNIMPORTABLE, installed
from tests.unit.synthetic import SUITE, TEACHERS, record, validated

Capture = pytest.CaptureFixture[str]
FACTS = ReproductionFacts(
    command="compact-bench reproduce --table 2",
    suite="svamp: sums",
    profile="lite",
    student="tiny",
    smoke=False,
    seeds=(1, 2, 3),
    command_of=lambda table, methods: (
        f"compact-bench reproduce --table {table} --methods {','.join(methods)}"
    ),
)


def tables(records: list[RunRecord]) -> list[Table]:
    two = [r for r in records if not (r.key.method == "compact" and r.key.variant)]
    five = [r for r in records if r.key.method in ("compact", "uniform", "zero_shot")]
    return [
        build_table(load_table_spec(2), two, SUITE, teachers=TEACHERS, profile="lite"),
        build_table(load_table_spec(5), five, SUITE, teachers=TEACHERS, profile="lite"),
    ]


def runs(**rates: float) -> list[RunRecord]:
    return [
        record(method, seed=seed, rate=rate, items=150)
        for seed in (1, 2, 3)
        for method, rate in rates.items()
    ]


def judged(claim: Claim, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> JudgedClaim:
    """One claim of COMPACT's, the only method there is."""
    card = MethodCard(title="COMPACT", source="a paper", claims=(claim,))
    kind = type("Kind", (), {"card": card, "variants": {"no-consensus": {}}})
    monkeypatch.setattr(claims_module, "method_names", lambda: ("compact",))
    monkeypatch.setattr(claims_module, "get_method", lambda name: kind)
    (found,) = judge_claims(tables(records))
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "expected", "status"),
    [
        (0.9, 0.3, "above", "reproduced"),
        (0.3, 0.9, "above", "contradicted"),
        (0.3, 0.9, "below", "reproduced"),
        (0.9, 0.3, "below", "contradicted"),
        (0.5, 0.5, "above", "inconclusive"),
        (0.5, 0.5, "below", "inconclusive"),
    ],
)
def test_a_claim_is_reproduced_where_the_difference_lies_on_its_side(
    ours: float, theirs: float, expected: Any, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("it is so", "section 1", "uniform", expected=expected)
    found = judged(claim, runs(compact=ours, uniform=theirs), monkeypatch)
    assert found.status == status
    assert found.comparison is not None and found.comparison.family == 1
    assert (found.table, found.selector) == ("2", ("compact", "uniform"))


def test_what_lacks_runs_is_untested_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim("it is so", "section 1", "uniform")
    assert judged(claim, runs(compact=0.9), monkeypatch).reason == "Uniform weights: not run"
    failed = [*runs(compact=0.9), record("uniform", status="unsupported", reason="needs a violin")]
    found = judged(claim, failed, monkeypatch)
    assert (found.status, found.reason) == ("untestable", "Uniform weights: unsupported: needs a violin")
    strange = judged(Claim("it is so", "section 1", "pcgrad"), runs(compact=0.9), monkeypatch)
    assert (strange.status, strange.reason) == ("untested", "no runs of pcgrad")
    group = judged(Claim("it is so", "section 1", "uniform", "health"), runs(compact=0.9), monkeypatch)
    assert group.reason == "the suite has no benchmarks of group 'health'"


def test_a_variants_claim_is_shown_by_the_table_that_has_both_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim("it is so", "section 1", "compact[no-consensus]", "out_of_distribution")
    records = [*runs(compact=0.9), *(record("compact", "no-consensus", s, rate=0.2) for s in (1, 2, 3))]
    found = judged(claim, records, monkeypatch)
    assert (found.status, found.table) == ("reproduced", "5")
    assert found.selector == ("compact", "compact[no-consensus]")
    best = judged(Claim("so", "section 1", "single_teacher[best]"), records, monkeypatch)
    assert (best.table, best.selector) == ("2", ("compact", "single_teacher"))


def spread_runs(variant: str, rates: list[float]) -> list[RunRecord]:
    return [
        record("compact", variant, seed, rate=rate, items=400) for seed, rate in enumerate(rates, start=1)
    ]


def test_a_spread_over_seeds_is_a_ratio_with_an_f_test(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim(
        "the error doubles", "Figure 5", "compact", row="compact[no-consensus]", statistic="seed_spread"
    )
    wide = [0.1, 0.3, 0.5, 0.7, 0.9]
    records = [*spread_runs("no-consensus", wide), *spread_runs("", [0.49, 0.5, 0.5, 0.5, 0.51])]
    found = judged(claim, records, monkeypatch)
    assert found.status == "reproduced" and found.comparison is not None
    means = [[r.evaluations["svamp"]["value"] for r in some] for some in (records[:5], records[5:])]
    one, other = (float(np.std(values, ddof=1)) for values in means)
    assert math.exp(found.comparison.effect or 0.0) == pytest.approx(one / other)
    assert found.comparison.p_value == pytest.approx(2 * f_distribution.sf((one / other) ** 2, 4, 4))
    assert " times [" in found.comparison.measure
    page = reproduction_markdown([found], FACTS)
    assert "spread over seeds, in distribution" in page and "F test" in page
    same = [*spread_runs("no-consensus", wide), *spread_runs("", wide)]
    assert judged(claim, same, monkeypatch).status == "inconclusive"
    alone = judged(claim, [r for r in records if r.key.seed == 1], monkeypatch)
    assert (alone.status, alone.reason) == ("untestable", "one seed has no spread")


def weighing(variant: str, seed: int, easiest: float) -> RunRecord:
    """A run whose second teacher is the easier one."""
    extra = {
        "mean_teacher_weights": {"alpha": 1 - easiest, "beta": easiest},
        "mean_teacher_losses": {"alpha": 2.0, "beta": 1.0},
    }
    made = record("compact", variant, seed)
    return replace(made, training={**made.training, "extra": extra})


def test_a_collapse_onto_the_easiest_teacher_is_measured_in_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim(
        "the weights collapse",
        "Figure 6 (a)",
        "compact",
        row="compact[no-adaptability]",
        statistic="weight_on_easiest_teacher",
    )
    full = [weighing("", seed, 0.5 + 0.01 * seed) for seed in (1, 2, 3)]
    collapsed = [weighing("no-adaptability", seed, 0.9 - 0.01 * seed) for seed in (1, 2, 3)]
    found = judged(claim, [*full, *collapsed], monkeypatch)
    assert found.status == "reproduced" and found.comparison is not None
    assert found.comparison.effect == pytest.approx(0.36)
    other = judged(
        claim, [*full, *(weighing("no-adaptability", s, 0.4 + 0.02 * s) for s in (1, 2, 3))], monkeypatch
    )
    assert other.status == "contradicted"
    silent = judged(
        claim, [*full, *(record("compact", "no-adaptability", s) for s in (1, 2, 3))], monkeypatch
    )
    assert (silent.status, silent.reason) == ("untestable", "not recorded in both rows")


def test_a_claim_about_the_best_teacher_never_means_a_teacher_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = runs(compact=0.5)
    for seed in (1, 2, 3):
        bad = record("single_teacher", "best", seed, rate=0.0, items=150)
        records += [validated(bad, 0.0), record("single_teacher", "alpha", seed, rate=1.0, items=150)]
    found = judged(Claim("so", "section 1", "single_teacher[best]"), records, monkeypatch)
    assert found.comparison is not None and found.comparison.measured[1] == "single_teacher[alpha]"
    assert found.status == "contradicted"


@pytest.mark.parametrize(
    ("verdict", "expected", "status"),
    [
        ("above", "above", "reproduced"),
        ("below", "above", "contradicted"),
        ("below", "below", "reproduced"),
        ("above", "below", "contradicted"),
        ("equivalent", "above", "equivalent"),
        ("inconclusive", "below", "inconclusive"),
        ("cannot show", "above", "untestable"),
        ("no verdict", "above", "untestable"),
        ("not compared", "above", "untestable"),
    ],
)
def test_a_status_is_the_verdict_seen_from_the_claim(verdict: Any, expected: Any, status: str) -> None:
    comparison = type("Made", (), {"verdict": verdict})
    claim = Claim("it is so", "section 1", "uniform", expected=expected)
    assert claims_module.claim_status(comparison, claim) == status  # type: ignore[arg-type]


def test_one_seed_tests_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim("it is so", "section 1", "uniform")
    one = [run for run in runs(compact=0.9, uniform=0.3) if run.key.seed == 1]
    found = judged(claim, one, monkeypatch)
    assert found.status == "untestable"
    assert "no verdict" in reproduction_markdown([found], FACTS)


def test_a_card_says_nothing_of_runs() -> None:
    """Only the page, which is made from runs, may say whether a claim holds."""
    for name in method_names():
        card = get_method(name).card
        assert card.reproduction in ("", "no reference")
        assert not (card.claims and card.reproduction)


def test_all_tested_claims_are_one_family() -> None:
    found = judge_claims(tables(runs(compact=0.9, uniform=0.5, zero_shot=0.3, compact_released=0.9)))
    tested = [claim.comparison for claim in found if claim.comparison is not None]
    assert {c.family for c in tested} == {len(tested)} and {c.correction for c in tested} == {"Holm"}
    assert all((c.p_corrected or 0) >= (c.p_value or 0) for c in tested)
    assert {"compact", "compact_released", "uniform"} == {c.method for c in found if c.comparison}


def test_every_method_is_on_the_page_and_every_claim_has_a_status() -> None:
    found = judge_claims(tables(runs(compact=0.9, uniform=0.5, zero_shot=0.3)))
    assert {claim.method for claim in found} == set(method_names())
    text = reproduction_markdown(found, FACTS)
    for name in method_names():
        card = get_method(name).card
        assert f"| {card.short or card.title} |" in text
        own = [claim for claim in found if claim.method == name]
        assert [c.claim for c in own if c.claim] == list(card.claims)
        if not card.claims:
            assert f"(`{name}`): no reference" in text
    assert "This is not the setting of the papers" in text and "do not edit" in text
    assert "| reproduced |" in text and "| untested |" in text
    assert "compact-bench report --table 2 --reproduction reproduction.md" in text
    assert "compact,compact[no-consensus] --reproduction reproduction.md`" in text
    assert "meaningless" not in text


def test_claims_name_rows_that_can_be() -> None:
    """A claim on a row that nobody can make would stay untested for ever."""
    specs = [load_table_spec(2), load_table_spec(5)]
    rows = {row.selector for spec in specs for row in spec.rows} | {"single_teacher[best]"}
    groups = {group.name for spec in specs for group in spec.groups if group.compared}
    for name in method_names():
        kind = get_method(name)
        rows |= {name, *(f"{name}[{variant}]" for variant in getattr(kind, "variants", {}))}
    for name in method_names():
        for claim in get_method(name).card.claims:
            assert {claim.row or name, claim.against} <= rows, (name, claim)
            assert claim.group in groups and claim.text and claim.place


@pytest.fixture
def broken(tmp_path: Path, suite: Path) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        yield from installed(tmp_path / "site", patch, unlucky=UNIMPORTABLE)


def test_the_page_is_written_from_the_store(
    broken: None, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--suite", str(suite), "--profile", "smoke")
    for method in ("uniform", "zero_shot"):
        assert run_command(capsys, "run", method, *words, "--workers", "1", "--threads", "1").code == 0
    page = tmp_path / "docs" / "reproduction.md"
    assert run_command(capsys, "report", "--table", "2,5", *words, "--reproduction", page).code == 0
    text = page.read_text()
    assert "smoke" in text and "meaningless" in text
    assert re.search(r"\| Uniform weights \| .* \| untestable \|", text)
    assert "unlucky-package" in text and "no such luck" in text
    commands = re.findall(r"^\d+\. `compact-bench (reproduce [^`]*)`$", text, re.MULTILINE)
    assert len(set(commands)) == len(commands) > 5
    wanted = next(c for c in commands if "zero_shot" in c and "uniform" in c)
    dry = run_command(capsys, *shlex.split(wanted), "--dry-run")
    assert dry.code == 0 and "All 2 runs are in the store" in dry.err
