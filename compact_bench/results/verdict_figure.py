"""A picture of many verdicts: a line per setting, a column per row; readable in grey by its signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compact_bench.core.written.names import shown
from compact_bench.results.figures import Drawing, open_figure, written
from compact_bench.results.statistics.verdicts import SIGNS, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILLS: Mapping[Verdict, tuple[str, str]] = {
    "above": ("#0072B2", "white"),
    "below": ("#F0B429", "black"),
    "equivalent": ("#DDDDDD", "black"),
}
"""Verdict -> colours of the cell and of its text; in grey they are dark, middle and pale."""
THIN_SPACE = "\u2009"
NO_FILL = ("white", "#444444")
WIDTH_INCHES = 6.6
"""Twice a column of a journal, whose text is then read at half size."""
LABEL_INCHES, LINE_INCHES, HEAD_INCHES, FOOT_INCHES = 1.75, 0.265, 1.75, 0.5
TEXT_SIZE, CELL_SIZE, SMALL_SIZE = 12.5, 11.5, 11.0


@dataclass(frozen=True)
class Square:
    """One cell: a difference in percentage points, None where there is none, with its verdict."""

    verdict: Verdict
    effect: float | None


@dataclass(frozen=True)
class Block:
    """Lines that belong together: one setting of the world at several values.

    Attributes:
        lines: label of a line and its cells, one for every column; None leaves a cell empty.
    """

    title: str
    lines: tuple[tuple[str, tuple[Square | None, ...]], ...]


def draw_verdicts(title: str, columns: Sequence[str], blocks: Sequence[Block], note: str = "") -> Drawing:
    """Draw a grid of verdicts.

    Args:
        columns: what the cells of a column are compared with.
        note: a line below, on what the numbers are.
    """
    lines = sum(len(block.lines) + (len(block.lines) > 1) for block in blocks)
    height = HEAD_INCHES + lines * LINE_INCHES + 0.1 * len(blocks) + FOOT_INCHES
    with open_figure(WIDTH_INCHES, height) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0.0, WIDTH_INCHES)
        axes.set_ylim(height, 0.0)
        width = (WIDTH_INCHES - LABEL_INCHES - 0.5) / max(1, len(columns))
        axes.text(0.08, 0.08, shown(title), fontsize=13, fontweight="bold", va="top")
        for n, column in enumerate(columns):
            place = LABEL_INCHES + (n + 0.4) * width
            axes.text(place, HEAD_INCHES - 0.06, shown(column), fontsize=TEXT_SIZE, rotation=35, va="bottom")
        y = HEAD_INCHES
        for block in blocks:
            y += 0.1
            axes.plot([0.08, WIDTH_INCHES - 0.08], [y - 0.05] * 2, color="#999999", linewidth=0.8)
            if len(block.lines) > 1:
                axes.text(0.08, y + LINE_INCHES / 2, shown(block.title), fontsize=TEXT_SIZE, va="center")
                y += LINE_INCHES
            for label, squares in block.lines:
                axes.text(
                    LABEL_INCHES - 0.1,
                    y + LINE_INCHES / 2,
                    shown(label),
                    fontsize=TEXT_SIZE,
                    va="center",
                    ha="right",
                )
                for n, square in enumerate(squares):
                    if square is not None:
                        _draw_square(axes, LABEL_INCHES + n * width, y, width, square)
                y += LINE_INCHES
        legend = "   ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
        axes.text(0.08, y + 0.12, legend, fontsize=SMALL_SIZE, va="top")
        axes.text(0.08, y + 0.31, shown(note), fontsize=SMALL_SIZE, va="top")
        return written(figure)


def _draw_square(axes: Axes, x: float, y: float, width: float, square: Square) -> None:
    from matplotlib.patches import Rectangle

    fill, colour = FILLS.get(square.verdict, NO_FILL)
    axes.add_patch(
        Rectangle(
            (x + 0.02, y + 0.015),
            width - 0.04,
            LINE_INCHES - 0.03,
            facecolor=fill,
            edgecolor="#BBBBBB",
            linewidth=0.5,
        )
    )
    sign = SIGNS.get(square.verdict, "")
    effect = "" if square.effect is None else f"{round(square.effect * 100) + 0:+d}"
    axes.text(
        x + width / 2,
        y + LINE_INCHES / 2,
        f"{sign}{THIN_SPACE}{effect}" if sign else "-",
        color=colour,
        fontsize=CELL_SIZE,
        ha="center",
        va="center",
        fontweight="bold" if square.verdict in ("above", "below") else "normal",
    )
