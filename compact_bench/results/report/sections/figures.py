"""Figures beside RESULTS.md: each one file with one `Figure`, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from compact_bench.core.errors import ConfigError
from compact_bench.core.files import write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.core.registry import Registry
from compact_bench.results.figures import Drawing
from compact_bench.results.report.markdown import escaped


@dataclass(frozen=True)
class Figure:
    """What a figure of RESULTS.md shows, and how it is drawn from run records.

    Attributes:
        draw: (the figure, records behind the tables, label of a row -> its title) -> the files; None where
            the records have nothing to show.
        title, heading, text: in the picture; above it and around it in RESULTS.md.
        section: of RESULTS.md: that of a `ReportSection`, or "" for the one of figures.
        rows: labels of the rows that are drawn.
        series: lines of a panel: name of a value -> as shown.
    """

    draw: Callable[[Figure, Sequence[RunRecord], Mapping[str, str]], Drawing | None]
    title: str
    heading: str
    text: str = ""
    section: str = ""
    rows: tuple[str, ...] = ()
    series: Mapping[str, str] = field(default_factory=dict)


FIGURES: Registry[Figure] = Registry(
    "figure",
    "compact_bench.figures",
    {"truth_over_training": "compact_bench.results.report.sections.truth_figure:TRUTH_OVER_TRAINING"},
    "a Figure",
    lambda entry: isinstance(entry, Figure),
)


@dataclass(frozen=True)
class DrawnFigure:
    """A figure that is shown, under the name of its files; or `problem` says why it could not be drawn."""

    name: str
    section: str = ""
    heading: str = ""
    text: str = ""
    drawing: Drawing | None = None
    problem: str = ""


def draw_figures(records: Sequence[RunRecord], titles: Mapping[str, str]) -> list[DrawnFigure]:
    """Every figure that the records have something for, by name; or why one cannot be drawn.

    Args:
        records: the runs behind the tables, under one set of settings.
        titles: label of a row -> as shown.
    """
    drawn = []
    for name in sorted(FIGURES.sources()):
        try:
            figure, drawing = FIGURES.call(name, lambda one: (one, one.draw(one, records, titles)))
        except ConfigError as error:
            drawn.append(DrawnFigure(name, heading=name, problem=" ".join(str(error).split())))
            continue
        if drawing is not None:
            drawn.append(DrawnFigure(name, figure.section, figure.heading, figure.text, drawing))
    return drawn


def figures_markdown(figures: Iterable[DrawnFigure], folder: str) -> list[str]:
    """Lines that show figures; `folder` is theirs, seen from the text ("": beside it)."""
    lines: list[str] = []
    for figure in figures:
        place = (PurePosixPath(folder) / figure.name).as_posix()
        shown = [figure.text, "", f"![{escaped(figure.heading)}]({place}.png)"]
        lines += ["", f"### {escaped(figure.heading)}", ""]
        lines += [f"Not drawn: {escaped(figure.problem)}"] if figure.problem else shown
    return lines


def write_figures(figures: Sequence[DrawnFigure], folder: Path) -> None:
    """Write the pictures.

    Raises:
        StoreError: a file cannot be written.
    """
    for figure in figures:
        if figure.drawing is not None:
            write_atomic(folder / f"{figure.name}.png", figure.drawing.png)
            write_atomic(folder / f"{figure.name}.svg", figure.drawing.svg)
