"""Figures: lines with error bands, labelled where they end; the same numbers give the same bytes.

Drawn without a display and without global state. Fonts are matplotlib's own, text becomes outlines, ids in
SVG files are hashed with a fixed salt, and no date or version is written into a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compact_bench.core.written.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
"""Okabe and Ito's palette, distinguishable with any kind of colour vision, less its yellow, and a grey."""
TEXT_DARKNESS = 0.72
"""Labels have their line's colour, darkened to be read on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ".")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (1, 1)),
    (0, (9, 3)),
    "-",
    (0, (1, 3)),
)
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    # A dollar sign in a title is a dollar sign.
    "text.parse_math": False,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "compact_bench",
    "svg.fonttype": "path",
    "figure.dpi": 130,
}
PANEL_INCHES = (5.6, 4.6)
HEAD_INCHES = 0.42
LEAST_SPAN = 0.04
"""Height of a panel in its values: what differs by less is not to look like a difference."""
# From the middle of the label's left side, so that it crosses no other label.
LABEL_LINE = {"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 1, "shrinkB": 0, "relpos": (0.0, 0.5)}
LABEL_GAP = 0.058
"""Least distance of two labels, as a share of a panel's height."""


@dataclass(frozen=True)
class Point:
    """One measured value of a line, with its interval where it has one."""

    x: float
    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        points: in the order of x; missing values are left out.
        style: index of its colour, marker and dashes; one method has the same in every panel.
    """

    label: str
    points: tuple[Point, ...]
    style: int


@dataclass(frozen=True)
class Level:
    """A horizontal line that says what a value means ("no better than chance")."""

    y: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        x_title, y_title: with units.
        x_ticks: where the x axis is marked; empty leaves it to the values.
        percent: whether values in [0, 1] are shown as percent.
    """

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[float, ...] = ()
    percent: bool = False
    level: Level | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure as the contents of two files."""

    png: bytes
    svg: bytes


def draw(title: str, panels: Sequence[Panel]) -> Drawing:
    """Draw one or more panels side by side."""
    width, height = PANEL_INCHES
    with open_figure(width * len(panels), height + HEAD_INCHES) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for place, panel in zip(axes, panels, strict=True):
            _draw_panel(place, panel)
        _share_heights(axes, panels)
        top = height / (height + HEAD_INCHES)
        figure.tight_layout(rect=(0.0, 0.0, 1.0, top))
        figure.suptitle(shown(title), fontsize=13, x=0.012, y=0.985, ha="left", va="top", fontweight="bold")
        for place, panel in zip(axes, panels, strict=True):
            _label_lines(place, panel)
        return written(figure)


@contextmanager
def open_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of this size in inches, to be drawn and written within the `with` block."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # A user's own settings must not change the bytes.
        matplotlib.rcdefaults()
        settings: MutableMapping[Any, Any] = matplotlib.rcParams
        settings.update(STYLE)
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure


def written(figure: Figure) -> Drawing:
    """A figure as its two files."""
    return Drawing(_written(figure, "png"), _written(figure, "svg"))


def _written(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    stream = io.BytesIO()
    metadata: dict[str, None] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(stream, format=kind, metadata=metadata, facecolor="white")
    return stream.getvalue()


def _draw_panel(axes: Axes, panel: Panel) -> None:
    scale = 100.0 if panel.percent else 1.0
    axes.set_title(shown(panel.title), loc="left")
    axes.set_xlabel(shown(panel.x_title))
    axes.set_ylabel(shown(panel.y_title))
    if panel.level is not None:
        axes.axhline(panel.level.y * scale, color="#777777", linewidth=1.0, zorder=1)
    for line in (line for line in panel.lines if line.points):
        colour = COLOURS[line.style % len(COLOURS)]
        known = [p for p in line.points if p.low is not None and p.high is not None]
        if known:
            axes.fill_between(
                [p.x for p in known],
                [(p.low or 0.0) * scale for p in known],
                [(p.high or 0.0) * scale for p in known],
                color=colour,
                alpha=0.13,
                linewidth=0.0,
            )
        axes.plot(
            [point.x for point in line.points],
            [point.mean * scale for point in line.points],
            color=colour,
            linestyle=DASHES[line.style % len(DASHES)],
            marker=MARKERS[line.style % len(MARKERS)],
            markersize=5.5,
            linewidth=1.9,
            zorder=3,
        )
    if panel.x_ticks:
        axes.set_xticks(panel.x_ticks, [f"{x:g}" for x in panel.x_ticks])
    _make_room(axes, panel)


def _share_heights(axes: Sequence[Axes], panels: Sequence[Panel]) -> None:
    """Panels of one quantity have one scale, so that their heights can be compared."""
    for y_title in dict.fromkeys(panel.y_title for panel in panels):
        same = [
            place
            for place, panel in zip(axes, panels, strict=True)
            if panel.y_title == y_title and any(line.points for line in panel.lines)
        ]
        limits = [place.get_ylim() for place in same]
        for place in same:
            place.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _make_room(axes: Axes, panel: Panel) -> None:
    """Free the right of the panel for the labels, by the longest of them."""
    ends = [line.points[-1].x for line in panel.lines if line.points]
    starts = [line.points[0].x for line in panel.lines if line.points]
    if not ends:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    longest = max(len(line.label) for line in panel.lines if line.points)
    taken = min(0.5, 0.05 + 0.0195 * longest)
    low, span = min(starts), (max(ends) - min(starts)) or 1.0
    axes.set_xlim(low - 0.04 * span, low + span / (1.0 - taken))
    if not panel.x_ticks:
        # No mark stands below the labels, where nothing is drawn.
        axes.set_xticks([x for x in axes.get_xticks() if low <= x <= max(ends)])
        axes.set_xlim(low - 0.04 * span, low + span / (1.0 - taken))
    axes.margins(y=0.08)
    bottom, top = axes.get_ylim()
    lacking = LEAST_SPAN * (100.0 if panel.percent else 1.0) - (top - bottom)
    if lacking > 0.0:
        axes.set_ylim(bottom - lacking / 2, top + lacking / 2)


def _label_lines(axes: Axes, panel: Panel) -> None:
    """Write every line's name where it ends, none over another."""
    from matplotlib.colors import to_rgb

    lines = [line for line in panel.lines if line.points]
    scale = 100.0 if panel.percent else 1.0
    bottom, top = axes.get_ylim()
    ends = [line.points[-1].mean for line in lines] + ([panel.level.y] if panel.level else [])
    heights = [(mean * scale - bottom) / (top - bottom) for mean in ends]
    places = spread(heights, LABEL_GAP)
    low, high = axes.get_xlim()
    end = max((line.points[-1].x for line in lines), default=low)
    text_x = (end - low) / (high - low) + 0.035
    for line, height, place in zip(lines, heights, places, strict=False):
        colour = COLOURS[line.style % len(COLOURS)]
        axes.annotate(
            shown(line.label),
            xy=((line.points[-1].x - low) / (high - low) + 0.008, height),
            xytext=(text_x, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=tuple(TEXT_DARKNESS * part for part in to_rgb(colour)),
            va="center",
            ha="left",
            fontsize=10.5,
            annotation_clip=False,
            arrowprops=LABEL_LINE | {"color": colour},
        )
    if panel.level is not None:
        # The level's line goes on to the edge: white behind the text keeps it readable.
        axes.text(
            text_x,
            places[-1],
            panel.level.label,
            transform=axes.transAxes,
            va="center",
            ha="left",
            color="#555555",
            fontsize=9.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] moved as little as needed to stand at least `gap` apart, in the same order."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(places, kind="stable")
    # At least `gap` apart is the same as not falling once the gaps below a label are taken off.
    gaps = gap * np.arange(len(places))
    free = isotonic_regression(np.asarray(places)[order] - gaps).x
    moved = np.empty(len(places))
    moved[order] = np.maximum(free, 0.0) + gaps
    return [float(place) for place in moved]
