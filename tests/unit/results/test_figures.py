"""Figures: the same bytes under any settings, labels that do not touch, what is missing is left out."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from compact_bench.core.records import RunRecord
from compact_bench.results.figures import (
    COLOURS,
    DASHES,
    MARKERS,
    Drawing,
    Level,
    Line,
    Panel,
    Point,
    draw,
    spread,
)
from compact_bench.results.report.sections.figures import draw_figures, figures_markdown
from compact_bench.results.report.sections.truth_figure import TRUTH_OVER_TRAINING, truth_over_training
from tests.unit.synthetic import key


def line(label: str, style: int, *means: float) -> Line:
    return Line(label, tuple(Point(n, mean, mean - 0.1, mean + 0.1) for n, mean in enumerate(means)), style)


def panel(*lines: Line) -> Panel:
    return Panel("A panel", "x", "y, %", lines, (0.0, 1.0, 2.0), percent=True, level=Level(0.5, "half"))


def size(drawing: Drawing) -> tuple[int, ...]:
    return tuple(imread(io.BytesIO(drawing.png)).shape[:2])


def test_the_same_numbers_give_the_same_bytes_under_any_settings_of_the_user() -> None:
    panels = [panel(line("a", 0, 0.1, 0.2, 0.3), line("b", 1, 0.3, 0.2, 0.1))]
    first = draw("Title", panels)
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "red"}):
        assert draw("Title", panels) == first
        assert matplotlib.rcParams["font.size"] == 30, "the user's settings stay"
    assert draw("Other", panels) != first


def test_files_carry_no_date_and_no_version_and_text_needs_no_font() -> None:
    drawing = draw("Title", [panel(line("a", 0, 0.1, 0.2))])
    text = drawing.svg.decode()
    ElementTree.fromstring(text)
    assert "<dc:date>" not in text and "Matplotlib" not in text and "font-family" not in text
    assert b"Software" not in drawing.png and b"matplotlib" not in drawing.png.lower()


def test_a_level_and_a_line_that_ends_on_it_have_labels_apart() -> None:
    text = draw("Title", [panel(line("ends there", 0, 0.1, 0.5), line("above", 1, 0.5, 0.9))]).svg.decode()
    heights = [
        float(re.search(rf"<!-- {label} -->.*?translate\(\S+ (\S+)\)", text, re.DOTALL)[1])  # type: ignore[index]
        for label in ("above", "half", "ends there")
    ]
    assert all(abs(b - a) > 10.0 for a, b in pairwise(sorted(heights)))


def test_every_panel_widens_the_figure_and_every_line_changes_it() -> None:
    one, two = panel(line("a", 0, 0.1, 0.2)), panel(line("a", 0, 0.1, 0.2), line("b", 1, 0.3, 0.4))
    assert size(draw("T", [one, one]))[1] == 2 * size(draw("T", [one]))[1]
    assert draw("T", [one]).png != draw("T", [two]).png


def test_a_panel_without_any_value_says_so_and_gaps_are_allowed() -> None:
    empty = draw("T", [panel(Line("a", (), 0))])
    bare = draw("T", [replace(panel(line("a", 0, 0.5)), title="", x_title="", y_title="")])
    assert size(empty) == size(bare) and empty == draw("T", [panel()])
    gap = Line("a", (Point(0.0, 0.2), Point(2.0, 0.4, 0.3, 0.5)), 0)
    assert draw("T", [panel(gap, Line("b", (), 1))]) == draw("T", [panel(gap)])


def test_lines_are_told_apart_by_more_than_colour() -> None:
    seen = {(COLOURS[n], MARKERS[n], str(DASHES[n])) for n in range(6)}
    assert len(seen) == len({marker for _, marker, _ in seen}) == len({dash for *_, dash in seen}) == 6


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7))
def test_labels_keep_their_order_and_their_distance(places: list[float]) -> None:
    found = spread(places, 0.06)
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    assert all(found[b] - found[a] >= 0.06 - 1e-9 for a, b in pairwise(order))
    assert min(found) >= -1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.06) == [0.9, 0.1, 0.5]
    assert spread([0.5, 0.5], 0.06) == pytest.approx([0.47, 0.53])


def truth_record(method: str, seed: int, shift: float = 0.0) -> RunRecord:
    windows = [
        {
            "first_step": 1 + 5 * n,
            "last_step": 5 + 5 * n,
            "weight_on_right": 0.6 + 0.02 * n + shift,
            "uniform_share": 0.55,
            "auc": {"fused": 0.6, "consensus": 0.7, "adaptability": None, "difficulty": 0.5},
        }
        for n in range(4)
    ]
    return RunRecord(key=key(method, "", seed), status="done", probes={"truth": {"over_training": windows}})


def drawn(records: list[RunRecord], titles: dict[str, str]) -> Drawing | None:
    return truth_over_training(TRUTH_OVER_TRAINING, records, titles)


def markdown(records: list[RunRecord], folder: str = "") -> list[str]:
    return figures_markdown(draw_figures(records, {}), folder)


def test_truth_over_training_is_drawn_from_the_records_that_have_it() -> None:
    plain = RunRecord(key=key("compact", "", 3), status="done")
    assert drawn([plain], {}) is None and markdown([plain]) == []
    records = [truth_record("compact", 1), truth_record("compact", 2, 0.05), plain]
    drawing = drawn(records, {"compact": "COMPACT"})
    assert drawing is not None and drawing == drawn(records[::-1], {"compact": "COMPACT"})
    assert any("(truth_over_training.png)" in text for text in markdown(records))
    assert any("(docs/a/truth_over_training.png)" in text for text in markdown(records, "docs/a"))
    both = drawn([*records, truth_record("compact_released", 1)], {})
    assert both is not None and size(both)[1] > size(drawing)[1], "a panel per method's ranking"
    other = drawn([truth_record("compact", 1), truth_record("compact", 2, 0.2)], {})
    assert other is not None and other.png != drawing.png


def test_rows_that_weight_by_no_score_are_not_drawn() -> None:
    assert drawn([truth_record("uniform", 1)], {}) is None
