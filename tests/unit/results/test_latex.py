"""RESULTS.tex: one size, groups, blocks of rows, bold only where the tests allow it; and it compiles."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compact_bench.core.records import Cell
from compact_bench.results.report.latex import best_rows, latex_escaped, tables_latex
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.spec import load_table_spec
from tests.unit.synthetic import SUITE, TEACHERS, all_records, made_contrast, record

COMPILER = shutil.which("pdflatex") or shutil.which("tectonic")
DOCUMENT = r"""\documentclass[a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{array}
\usepackage{booktabs}
\begin{document}
\input{RESULTS}
\end{document}
"""


def table_2(seeds: tuple[int, ...] = (1, 2)) -> Table:
    return build_table(load_table_spec(2), all_records(seeds), SUITE, teachers=TEACHERS)


def with_means(means: dict[str, float], shown: set[frozenset[str]]) -> Table:
    """Table 2 whose rows have these means on ID; of the compared pairs, those of `shown` differ."""
    table = table_2()
    rows = tuple(row for row in table.rows if row.name in means)
    cells = {**table.cells, **{(r, "in_distribution_mean"): Cell(r, "", mean) for r, mean in means.items()}}

    def told(c: Comparison) -> Comparison:
        effect = means[c.row] - means[c.against]
        differs = frozenset((c.row, c.against)) in shown
        ends = (effect - 0.01, effect + 0.01) if differs else (-1.0, 1.0)
        found, p = made_contrast(effect, *ends), 0.01 if differs else 0.5
        return dataclasses.replace(c, effect=effect, contrast=found, p_corrected=p)

    pairs = [c for c in table.comparisons if {c.row, c.against} <= means.keys()]
    return dataclasses.replace(
        table, rows=rows, cells=cells, comparisons=tuple(told(c) for c in pairs if c.group == "ID")
    )


def best(table: Table) -> set[str] | None:
    return best_rows(table, next(c for c in table.columns if c.name == "in_distribution_mean"))


def test_bold_is_the_highest_mean_and_what_is_not_shown_to_be_below_it() -> None:
    means = {"compact": 0.8, "uniform": 0.7, "zero_shot": 0.2}
    table = with_means(means, {frozenset(("compact", "zero_shot"))})
    assert best(table) == {"compact", "uniform"}
    text = tables_latex([table])
    assert r"\textbf{80.0}" in text and r"\textbf{70.0}" in text and r"\textbf{20.0}" not in text
    (zero,) = [line for line in text.split(r"\end{table}")[0].splitlines() if line.startswith("Zero-shot")]
    assert zero.count(r"$\downarrow$") == 1 and r"\uparrow" not in text


def test_nothing_is_bold_where_the_highest_was_not_compared_with_every_row() -> None:
    means = {"compact": 0.7, "single_teacher[alpha]": 0.8, "uniform": 0.6}
    table = with_means(means, {frozenset(("compact", "single_teacher[alpha]"))})
    assert best(table) is None, "alpha and uniform are no pair of the table"
    text = tables_latex([table])
    assert r"\textbf" not in text.split(r"\end{table}")[0]
    assert "No best is marked for ID" in text
    (alpha,) = [line for line in text.split(r"\end{table}")[0].splitlines() if "alpha &" in line]
    assert r"$\uparrow$" in alpha


def test_of_equal_means_the_references_is_the_best_and_benchmarks_have_none() -> None:
    table = with_means({"uniform": 0.8, "compact": 0.8, "zero_shot": 0.8}, set())
    assert best(table) == {"uniform", "compact", "zero_shot"}
    assert best_rows(table, next(c for c in table.columns if c.name == "svamp")) == set()


def test_it_is_escaped_balanced_and_grouped() -> None:
    assert latex_escaped("50% of a_b & {c} $x$ #1 ~ ^ \\ ±") == (
        r"50\% of a\_b \& \{c\} \$x\$ \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$"
    )
    table = build_table(
        load_table_spec(2), [*all_records((1, 2)), record("my_method")], SUITE, teachers=TEACHERS
    )
    text = tables_latex([table])
    assert r"my\_method" in text
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 7
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows and all(not re.search(r"(?<!\\)[%#_]", line) for line in rows)
    first = text.split(r"\end{table}")[0]
    rules = re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", first)
    assert [int(b) - int(a) for a, b in rules] == [1, 1, 1, 1, 1], "mean and interval; two costs"
    heads = [re.findall(r"\\multicolumn\{(\d)\}\{c\}\{(\w+)\}", line) for line in first.splitlines()]
    assert [("2", "ID"), ("2", "OOD"), ("2", "Retention"), ("2", "Drift"), ("2", "Cost")] in heads
    blocks = re.findall(r"\\itshape ([^}]+)\}", first)
    assert blocks == ["Levels", "Untrained", "Single teachers", "Methods", "Methods beyond the table's plan"]
    assert r"\resizebox" not in text and text.count(r"\scriptsize") == text.count(r"\begin{table}")
    assert r"Means over 2 seeds unless a cell says otherwise; in brackets 95 \% intervals" in first
    (mine,) = [line for line in first.splitlines() if line.startswith(r"my\_method")]
    assert mine.count("(1 seed)") == 6 and first.count("(1 seed)") == 6


@pytest.mark.skipif(COMPILER is None, reason="needs pdflatex or tectonic on the path")
@pytest.mark.parametrize("number", [2, 5])
def test_it_compiles_and_fits_its_page(number: int, tmp_path: Path) -> None:
    spec = load_table_spec(number)
    records = all_records((1, 2)) + [
        record(row.method, row.variant, seed) for row in spec.rows for seed in (1, 2) if row.variant
    ]
    failed = record("curriculum", status="failed", reason="50% of {the_loss} & #3 \\ is ~not^ finite <here>")
    table = build_table(spec, [*records, failed], SUITE, teachers=TEACHERS)
    (tmp_path / "RESULTS.tex").write_text(tables_latex([table]), encoding="utf-8")
    (tmp_path / "document.tex").write_text(DOCUMENT, encoding="utf-8")
    assert COMPILER
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in COMPILER else ["--keep-logs"]
    done = subprocess.run(
        [COMPILER, *options, "document.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "document.pdf").stat().st_size > 10_000
    log = (tmp_path / "document.log").read_text(encoding="utf-8", errors="replace")
    assert not re.findall(r"Overfull \\[hv]box.*", log)
