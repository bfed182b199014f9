"""The page of findings over several sweeps, and statements made beforehand, from records made up for it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.data.suites import SuiteSpec, load_spec
from compact_bench.results.report.findings_page import (
    SIDES,
    draw_findings,
    findings_csv,
    findings_markdown,
    write_findings,
)
from compact_bench.results.report.sweep_page import sweep_markdown
from compact_bench.results.statistics.verdicts import Verdict
from compact_bench.results.sweeps.findings import Findings, check_together
from compact_bench.results.sweeps.results import SweepResults, measure_sweep
from compact_bench.results.sweeps.spec import SweepSpec, load_sweep_spec
from tests.tiny_suite import write_tiny_lab

ITEMS = 200
Accuracy = Callable[[str, float], float]
FLAT: Mapping[str, float] = {
    "zero_shot": 0.05, "uniform": 0.5, "right_filter": 0.8, "majority_filter": 0.65, "constant_weights": 0.5,
    "shuffled_weights": 0.5, "compact": 0.65, "oracle": 0.95,
}  # fmt: skip


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> SuiteSpec:
    return load_spec(write_tiny_lab(tmp_path_factory.mktemp("lab")))


def task_of(suite: SuiteSpec) -> str:
    (task,) = (b.task for b in suite.benchmarks if b.group == "in_distribution")
    return task


def run(key: RunKey, accuracy: float, value: float, spread: float, task: str) -> RunRecord:
    """A run with this accuracy, more or less, over seeds and items."""
    parts = (*key.method.encode(), key.seed, round(value * 100))
    rng = np.random.default_rng(parts)
    at = np.clip(accuracy + spread * rng.standard_normal(), 0, 1)
    scores = [float(x) for x in rng.random(ITEMS) < at]
    ids = [f"{task}/{n}" for n in range(ITEMS)]
    evaluations = {task: {"items": scores, "item_ids": ids, "n": ITEMS}}
    weights = {"final": f"{key.method} {key.seed} {value}"}
    return RunRecord(key=key, status="done", evaluations=evaluations, weights=weights)


def measured(
    name: str,
    suite: SuiteSpec,
    accuracy: Accuracy = lambda method, value: FLAT[method],
    own: float | None = None,
    spread: float = 0.01,
    **changes: Any,
) -> SweepResults:
    """A sweep with an accuracy for every method and value; its own world is the same in all sweeps."""
    spec: SweepSpec = load_sweep_spec(name).model_copy(update=changes)
    records = {}
    for value in spec.axis.values:
        place = 9.0 if value == own else value
        records[value] = [
            run(
                RunKey(
                    row.method, "", "s", "r", suite.name, f"{name} {place}", "smoke", seed, {"eval": {}}, 1
                ),
                accuracy(row.method, value),
                place,
                spread,
                task_of(suite),
            )
            for row in spec.rows
            for seed in spec.seeds
        ]
    planned = {value: [record.key for record in some] for value, some in records.items()}
    named = {"suite": suite, "profile": "smoke", "student": "a student", "command": "sweep one"}
    return measure_sweep(spec, records, planned, own_value=own, **named)  # type: ignore[arg-type]


def styles(method: str, value: float) -> float:
    """COMPACT loses as styles are drawn; all else stays."""
    return FLAT[method] if method != "compact" else 0.9 - 0.5 * value


@pytest.fixture(scope="module")
def findings(suite: SuiteSpec) -> Findings:
    return Findings(
        (
            measured("style", suite, styles, own=0.5),
            measured("competence", suite, own=0.2),
            measured("filters", suite, lambda m, v: FLAT[m] - 0.3 * v * (m == "right_filter")),
        ),
        "the command",
    )


# ------------------------------------------------------------------------------------------------- the page


def test_the_first_screen_tells_losses_and_wins_alike(findings: Findings) -> None:
    page = findings_markdown(findings)
    first = page.partition("![Verdicts")[0]
    assert first.index("Against it:") < first.index("For it:") < first.index("Neither:")
    below, above = first.split("Against it:")[1].split("For it:")
    assert re.search(r"\*\*below\*\* Right-answer filter at .*drawn styles 0.75 and 1 \(-4\d", below)
    assert re.search(r"\*\*above\*\* Uniform weights at .*drawn styles 0 and 0.25 \(\+\d", above)
    for verdict in re.findall(r"\*\*([a-z ]+)\*\*", first):
        assert verdict in get_args(Verdict) or "smoke" in verdict
    assert {v for _, some in SIDES for v in some} == set(get_args(Verdict)), "no verdict is left out"
    counts = dict(re.findall(r"^\| ([A-Z][^|]+?) \| (\d+ \| \d+)", first, re.MULTILINE))
    assert set(counts) == set(findings.titles(rivals=True).values())


def test_every_setting_is_told_once_and_the_suite_s_own_first(findings: Findings) -> None:
    settings = findings.settings
    assert len(settings) == 1 + 4 + 3 + 4 and settings[0].is_own and not any(s.is_own for s in settings[1:])
    found = findings.comparison(settings[0], "uniform")
    same = findings.sweeps[1].comparisons["accuracy", "uniform", 0.2]
    style = findings.sweeps[0].comparisons["accuracy", "uniform", 0.5]
    assert found is style and (found.p_corrected, found.verdict) == (same.p_corrected, same.verdict)
    first, _, rest = findings_markdown(findings).partition("![Verdicts")
    assert first.count("the suite's own (") >= 5
    assert "The suite's own setting is drawn styles 0.5 and too hard 0.2;" in rest


def test_a_mark_s_sure_difference_makes_no_rival_s_likelier(suite: SuiteSpec) -> None:
    whole = measured("style", suite, styles, spread=0.05)
    few = whole.spec.choose(("uniform", "right_filter", "compact"))
    bare = measured("style", suite, styles, spread=0.05, rows=few.rows, bounds=())
    more = load_sweep_spec("style").choose(("zero_shot", "uniform", "right_filter", "compact", "oracle"))
    marked = measured("style", suite, styles, spread=0.05, rows=more.rows, bounds=())
    for value in bare.spec.axis.values:
        place = "accuracy", "uniform", value
        assert bare.comparisons[place].p_corrected == marked.comparisons[place].p_corrected
    assert bare.comparisons["accuracy", "uniform", 0.0].family == 10
    assert marked.comparisons["accuracy", "oracle", 0.0].family == 10


def test_equivalence_within_the_margin_and_that_few_seeds_cannot_show_it(suite: SuiteSpec) -> None:
    same = measured("competence", suite, lambda m, v: {"zero_shot": 0.1, "oracle": 0.9}.get(m, 0.5))
    found = [same.comparisons["accuracy", "constant_weights", v].verdict for v in same.spec.axis.values]
    assert set(found) == {"equivalent"}
    wide = measured("competence", suite, lambda m, v: FLAT[m], spread=0.2)
    page = findings_markdown(Findings((wide,), ""))
    assert "A difference of accuracies under 10.0 pp counts as none" in page
    assert re.search(r"equivalence cannot be shown with these seeds \(90 % half-width .* in \d+ of \d+", page)
    assert "No margin is set" in sweep_markdown(measured("style", suite, margin=None, bounds=()), "p.png")


def test_where_the_bounds_agree_nothing_can_show(suite: SuiteSpec) -> None:
    flat = measured("competence", suite, lambda m, v: 0.9 if m == "compact" else 0.5)
    assert {c.verdict for p, c in flat.comparisons.items() if p[0] == "accuracy"} == {"cannot show"}
    assert "**cannot show** Uniform weights at" in findings_markdown(Findings((flat,), ""))


def test_one_seed_gives_no_verdict(suite: SuiteSpec) -> None:
    one = findings_markdown(Findings((measured("style", suite, styles, seeds=(1,)),), ""))
    assert "Against it: no setting, no row." in one and "**no verdict** Uniform weights" in one


def test_the_card_says_what_was_known_of_compact(findings: Findings, suite: SuiteSpec) -> None:
    card = "All is generated.\n\nOf COMPACT's\nresults one choice knew: styles.\n\n- COMPACT <b>ran</b>\n- no"
    told = Findings(
        tuple(replace(s, suite=suite.model_copy(update={"card": card})) for s in findings.sweeps), ""
    )
    page = findings_markdown(told)
    assert "> Of COMPACT's results one choice knew: styles.\n" in page and "The world is constructed" in page
    assert "> no\n" not in page and "<b>" not in page and "<summary>The whole card</summary>" in page
    silent = replace(told.sweeps[0], suite=suite.model_copy(update={"card": "Nothing."}))
    assert "does not say which of its choices" in findings_markdown(Findings((silent,), ""))


def test_what_is_missing_is_named_and_nothing_at_all_is_still_a_page(suite: SuiteSpec) -> None:
    spec = load_sweep_spec("style")
    keys = {
        v: [RunKey("uniform", "", "s", "r", suite.name, "f", "smoke", 1, {}, 1)] for v in spec.axis.values
    }
    named: Any = {"suite": suite, "profile": "smoke", "student": "s", "command": ""}
    empty = Findings((measure_sweep(spec, {v: [] for v in keys}, keys, **named),), "")
    page = findings_markdown(empty)
    assert "## Missing" in page and "style: drawn_styles 0.25, uniform, seed 1: not run" in page
    assert "**not compared** Uniform weights" in page and len(draw_findings(empty).png) > 1000
    alone = spec.model_copy(update={"rows": spec.rows[:2]})
    page = findings_markdown(Findings((measure_sweep(alone, {v: [] for v in keys}, keys, **named),), ""))
    assert "Nothing is compared" in page


def test_the_same_records_give_the_same_bytes_and_every_comparison(
    findings: Findings, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        write_findings(findings, tmp_path / folder)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 4 + 3 * 5 and Path("style/sweep_style.png") in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    rows = list(csv.DictReader(io.StringIO(findings_csv(findings))))
    assert len(rows) == sum(len(s.comparisons) + len(s.statements) for s in findings.sweeps)
    row = next(r for r in rows if (r["sweep"], r["panel"], r["value"], r["against"]) == (
        "style", "accuracy", "1", "right_filter"))  # fmt: skip
    c = findings.sweeps[0].comparisons["accuracy", "right_filter", 1.0]
    assert float(row["effect"]) == c.effect and row["verdict"] == c.verdict == "below"
    assert float(row["p_corrected"]) == c.p_corrected and float(row["margin"]) == 0.1


@pytest.mark.parametrize("name", ["a | b", "## Forged: COMPACT wins", "<script>", "**below** x", "=cmd|'!A0"])
def test_names_change_no_structure(name: str, suite: SuiteSpec) -> None:
    def page(title: str) -> str:
        spec = load_sweep_spec("style")
        rows = tuple(row.model_copy(update={"title": f"x{title}"}) for row in spec.rows)
        axis = spec.axis.model_copy(update={"short": title, "title": title})
        return findings_markdown(
            Findings(
                (measured("style", suite, styles, rows=rows, axis=axis, title=title, note=f"x{title}"),),
                title,
            )
        )

    plain, hostile = page("Plain"), page(name)
    assert len(plain.splitlines()) == len(hostile.splitlines()) and "<script>" not in hostile.split("```")[0]
    for one, other in zip(plain.splitlines(), hostile.splitlines(), strict=True):
        # The command's line stands in a block of code.
        if one != "Plain":
            assert one[:1] == other[:1], (one, other)
            assert len(re.findall(r"(?<!\\)\|", one)) == len(re.findall(r"(?<!\\)\|", other)), (one, other)


def test_sweeps_that_no_page_can_show_are_refused() -> None:
    one = ("style", "lab", "lite", "compact")
    check_together([one, ("competence", "lab", "lite", "compact")])
    others = {
        "every sweep once": one,
        "one suite": ("x", "mine", "lite", "compact"),
        "one profile": ("x", "lab", "full", "compact"),
        "one reference": ("x", "lab", "lite", "uniform"),
    }
    for what, other in others.items():
        with pytest.raises(ConfigError, match=what):
            check_together([one, other])


# ------------------------------------------------------------------------------------------------- statements


def test_statements_are_told_whichever_way_they_come_out(findings: Findings, suite: SuiteSpec) -> None:
    statements = findings.sweeps[2].statements
    assert [s.status for s in statements] == ["reproduced"] * 4
    assert {s.comparison.correction for s in statements} == {"Holm"} and statements[0].comparison.family == 4
    page = findings_markdown(findings)
    assert "## Stated beforehand" in page and page.count("- **came out**") == 4
    assert (
        "Right-answer filter minus Majority filter is +" in page
        and "(expected: the difference falls)" in page
    )
    turned = measured("filters", suite, lambda m, v: {"right_filter": 0.4 + 0.4 * v}.get(m, FLAT[m]))
    assert [s.status for s in turned.statements] == [
        "contradicted",
        "reproduced",
        "contradicted",
        "contradicted",
    ]
    assert findings_markdown(Findings((turned,), "")).count("- **contradicted**") == 3
    noisy = measured("filters", suite, lambda m, v: 0.5, spread=0.2, bounds=())
    assert {s.status for s in noisy.statements} <= {"inconclusive", "equivalent"}


def test_a_change_is_the_line_of_least_squares_over_seeds_and_items(findings: Findings) -> None:
    sweep = findings.sweeps[2]
    change = sweep.statements[3].comparison
    values = np.array(sweep.spec.axis.values)
    by_seed = []
    for seed in sweep.spec.seeds:
        means = {
            (r.key.method, r.key.suite_fingerprint): np.mean(next(iter(r.evaluations.values()))["items"])
            for r in sweep.records
            if r.key.seed == seed
        }
        gaps = [means["right_filter", f"filters {v}"] - means["uniform", f"filters {v}"] for v in values]
        by_seed.append(np.polyfit(values, gaps, 1)[0] * (values[-1] - values[0]))
    assert change.effect == pytest.approx(np.mean(by_seed)) and change.seeds == 5 and change.items == ITEMS
    assert change.seed_sd == pytest.approx(np.std(by_seed, ddof=1))
    assert change.low is not None and change.high is not None and change.low < -0.27 < change.high
    assert change.verdict == "below" and "change from right_answer_wrong_step_rate 0 to 0.9" in change.group


def test_a_statement_that_cannot_be_tested_says_why(suite: SuiteSpec) -> None:
    spec = load_sweep_spec("filters")
    rows = measured("filters", suite, rows=spec.choose(("uniform", "compact")).rows, bounds=())
    assert all("not among the rows" in s.comparison.reason for s in rows.statements)
    axis = spec.axis.model_copy(update={"values": (0.3,)})
    values = measured("filters", suite, axis=axis)
    assert "0 is not among the values" in values.statements[0].comparison.reason
    assert values.statements[3].comparison.reason == "one value shows no change"
    assert {s.status for s in (*rows.statements, *values.statements)} == {"untested"}
    assert "- **not measured** (expected: above)" in findings_markdown(Findings((values,), ""))
