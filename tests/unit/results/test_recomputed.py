"""From raw item results on disk to the printed digits, computed again without the functions of the product.

Nothing of `compact_bench.results` computes here: run records are read as JSON, the formulas of
docs/statistics.md are written out in loops, and what they give must stand on the pages digit by digit.
"""

from __future__ import annotations

import json
import math
import random
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from scipy import integrate, optimize, stats

from compact_bench.results.report import ReportFacts, write_results
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.store.store import Store
from tests.unit.synthetic import SUITE, TEACHERS, evaluation, record

SEEDS = (1, 2, 3, 4, 5, 6)
ITEMS = 48
LEVELS = {"zero_shot": 0.3, "compact": 0.62, "uniform": 0.55, "right_filter": 0.75, "mcc_kd": 0.61}
GROUPS = {"ID": ("svamp",), "OOD": ("addsub", "singleeq"), "Retention": ("piqa",)}
TITLES = {
    "uniform": "Uniform weights",
    "right_filter": "Right-answer filter",
    "mcc_kd": "MCC-KD",
}
MARGIN = 0.05
Scores = dict[str, dict[str, dict[int, dict[str, float]]]]
"""method -> task -> seed -> question -> score."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of made-up runs, and the pages made from it."""
    home = tmp_path_factory.mktemp("recomputed")
    draw = random.Random(7)
    shared = [f"q{n}" for n in range(ITEMS // 2)]
    ids = {task: [f"{task}/{task}{n}" for n in range(ITEMS)] for task in ("svamp", "addsub", "piqa")}
    ids["addsub"][: len(shared)] = [f"addsub/{name}" for name in shared]
    ids["singleeq"] = [f"singleeq/{name}" for name in shared]
    ids["singleeq"] += [f"singleeq/own{n}" for n in range(ITEMS - len(shared))]
    hardness = {task: [draw.gauss(0.0, 0.2) for _ in range(ITEMS)] for task in ids}
    store = Store(home / "store")
    runs = []
    for method, seed in product(LEVELS, SEEDS):
        luck = 0.0 if method == "zero_shot" else draw.gauss(0.0, 0.03)
        rights = random.Random("zero_shot" if method == "zero_shot" else f"{method}{seed}")
        scores = {
            task: [float(rights.random() < LEVELS[method] + luck + hard) for hard in hardness[task]]
            for task in ids
        }
        run = record(
            method, seed=seed, evaluations={task: evaluation(task, scores[task], ids[task]) for task in ids}
        )
        store.save(run.key, run)
        runs.append(run)
    table = build_table(load_table_spec(2), store.records(), SUITE, teachers=TEACHERS)
    write_results([table], runs, home, ReportFacts("cmd"))
    return home


@pytest.fixture(scope="module")
def scores(folder: Path) -> Scores:
    """The raw item results, read as text."""
    found: Scores = {}
    for path in (folder / "store").rglob("*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data.get("record", data)
        if "evaluations" not in data:
            continue
        for task, result in data["evaluations"].items():
            by_item = dict(zip((i.split("/")[1] for i in result["item_ids"]), result["items"], strict=True))
            found.setdefault(data["key"]["method"], {}).setdefault(task, {})[data["key"]["seed"]] = by_item
    assert found.keys() == LEVELS.keys()
    return found


def questions_of(scores: Scores, group: str) -> dict[str, list[str]]:
    """Task -> its questions; one that an earlier task of the group has too counts there alone."""
    seen: set[str] = set()
    found = {}
    for task in GROUPS[group]:
        names = sorted(name for name in scores["compact"][task][SEEDS[0]] if name not in seen)
        seen |= set(names)
        found[task] = names
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def variance(values: list[float]) -> float:
    return sum((v - mean(values)) ** 2 for v in values) / (len(values) - 1)


def differ(scores: Scores, ours: str, theirs: str, group: str) -> dict[str, float]:
    """Estimate, standard error and degrees of freedom of a difference, by the formulas, in loops."""
    questions, seeds = questions_of(scores, group), len(SEEDS)
    weight = 1 / len(questions)
    d = {
        task: {s: [scores[ours][task][s][q] - scores[theirs][task][s][q] for q in names] for s in SEEDS}
        for task, names in questions.items()
    }
    by_seed = [sum(weight * mean(d[task][s]) for task in d) for s in SEEDS]
    seed_part = variance(by_seed) / seeds
    total = seed_part
    for rows in d.values():
        items = len(rows[SEEDS[0]])
        of_item = [mean([rows[s][i] for s in SEEDS]) for i in range(items)]
        of_seed = {s: mean(rows[s]) for s in SEEDS}
        all_of = mean(of_item)
        ms_item = seeds * variance(of_item)
        ms_rest = sum(
            (rows[s][i] - of_item[i] - of_seed[s] + all_of) ** 2 for s in SEEDS for i in range(items)
        )
        ms_rest /= (seeds - 1) * (items - 1)
        if ms_item > ms_rest:
            scale = weight**2 / (seeds * items)
            total += scale * (ms_item - ms_rest)
    return {"estimate": mean(by_seed), "error": math.sqrt(total), "df": seeds - 1.0}


def p_of(found: dict[str, float]) -> float:
    return float(2 * stats.t.sf(abs(found["estimate"]) / found["error"], found["df"]))


def ends(found: dict[str, float], level: float) -> tuple[float, float]:
    half = found["error"] * stats.t.ppf(0.5 + level / 2, found["df"])
    return found["estimate"] - half, found["estimate"] + half


def holm(p_values: dict[Any, float]) -> dict[Any, float]:
    worst, out = 0.0, {}
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p))
        out[name] = worst
    return out


def printed(value: float) -> str:
    return f"{round(value * 100, 1) + 0.0:+.1f}"


@pytest.fixture(scope="module")
def primary(scores: Scores) -> dict[tuple[str, str], dict[str, float]]:
    """(method, group) -> the primary differences with corrected p."""
    found = {(m, g): differ(scores, "compact", m, g) for m, g in product(TITLES, GROUPS)}
    corrected = holm({pair: p_of(one) for pair, one in found.items()})
    return {pair: {**one, "p": corrected[pair]} for pair, one in found.items()}


def verdict_of(found: dict[str, float]) -> str:
    low, high = ends(found, 0.90)
    if found["p"] < 0.05:
        return "above" if found["estimate"] > 0 else "below"
    return "equivalent" if low > -MARGIN and high < MARGIN else "inconclusive"


def test_every_primary_verdict_and_digit_on_the_first_screen(
    folder: Path, primary: dict[tuple[str, str], dict[str, float]]
) -> None:
    text = (folder / "RESULTS.md").read_text(encoding="utf-8")
    for (method, group), found in primary.items():
        low, high = ends(found, 0.95)
        size = f"{TITLES[method]} ({printed(found['estimate'])} pp [{printed(low)}, {printed(high)}]"
        (line,) = [line for line in text.split("\n") if line.startswith("- **") and size in line]
        assert line.startswith(f"- **{verdict_of(found)}** on {group}: "), (method, group, line)
    assert {verdict_of(found) for found in primary.values()} >= {"above", "below"} or len(primary) == 9


def test_p_values_and_detectable_differences_on_the_comparisons_page(
    folder: Path, primary: dict[tuple[str, str], dict[str, float]]
) -> None:
    text = (folder / "results" / "comparisons_table_2.md").read_text(encoding="utf-8")
    for (method, group), found in primary.items():
        section = text.split(f"## Primary: {group}\n")[1].split("\n## ")[0]
        (line,) = [row for row in section.split("\n") if f"minus {TITLES[method]} |" in row]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[3] == f"{p_of(found):.4f}" and cells[4] == f"{found['p']:.4f}"
        limits = []
        for alpha in (0.05, 0.05 / len(primary)):
            bound = stats.t.ppf(1 - alpha / 2, found["df"])

            def lacking(shift: float, bound: float = bound, df: float = found["df"]) -> float:
                def at(v: float) -> float:
                    wide = bound * math.sqrt(v / df)
                    hit = stats.norm.sf(wide - shift) + stats.norm.cdf(-wide - shift)
                    return float(hit * stats.chi2.pdf(v, df))

                return float(integrate.quad(at, 0, 20 * df + 50, limit=200)[0] - 0.8)

            limits.append(100 * found["error"] * optimize.brentq(lacking, 0.1, 4 * bound))
        assert cells[5] == f"{limits[0]:.2f} ({limits[1]:.2f})"


def test_means_and_their_difference_to_the_untrained_student(folder: Path, scores: Scores) -> None:
    text = (folder / "RESULTS.md").read_text(encoding="utf-8")
    titles = {**TITLES, "compact": "COMPACT (paper)"}
    for group, heading in (("ID", "In-d"), ("OOD", "Out-of-d"), ("Retention", "Retention acc")):
        section = text.split(f"### {heading}")[1].split("\n#")[0]
        questions = questions_of(scores, group)
        for method, title in titles.items():
            by_seed = [
                mean([mean([scores[method][task][s][q] for q in names]) for task, names in questions.items()])
                for s in SEEDS
            ]
            over = differ(scores, method, "zero_shot", group)
            low, high = ends(over, 0.95)
            (line,) = [row for row in section.split("\n") if row.startswith(f"| {title} |")]
            spread = math.sqrt(variance(by_seed))
            assert f"| {mean(by_seed) * 100:.1f} ± {spread * 100:.1f} [" in line, line
            assert f"| {printed(over['estimate'])} [{printed(low)}, {printed(high)}] |" in line, line
            for task in questions:
                own = mean([v for s in SEEDS for v in scores[method][task][s].values()])
                assert re.search(rf"\| {own * 100:.1f} \|", line), (task, line)
