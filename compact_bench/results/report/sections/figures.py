"""Figures beside RESULTS.md: each a file `figure_NAME.toml`, and a function that draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import Field

from compact_bench.core.errors import ConfigError
from compact_bench.core.files import write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.core.registry import Registry
from compact_bench.core.settings import Strict, read_toml
from compact_bench.results.figures import Drawing
from compact_bench.results.tables.spec import definition_file, definition_names


class FigureSpec(Strict):
    """What a figure shows, as data.

    Attributes:
        draw: name of the function that draws it.
        title, heading, text: in the picture; above it and around it in RESULTS.md.
        section: of RESULTS.md: "truth", or "" for the one of figures.
        rows: labels of the rows that are drawn.
        series: lines of a panel: name of a value -> as shown.
    """

    draw: str
    title: str
    heading: str
    text: str = ""
    section: str = ""
    rows: tuple[str, ...] = ()
    series: dict[str, str] = Field(default_factory=dict)


Draw = Callable[[FigureSpec, Sequence[RunRecord], Mapping[str, str]], Drawing | None]
"""(figure, records behind the tables, label of a row -> its title) -> the files; None if nothing to show."""
FIGURES: Registry[Draw] = Registry(
    "figure",
    "compact_bench.figures",
    {"truth_over_training": "compact_bench.results.report.sections.truth_figure:truth_over_training"},
    "a function",
    callable,
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
    for name in sorted(definition_names("figure")):
        try:
            spec = read_toml(definition_file("figure", name), FigureSpec)
            drawing = FIGURES.call(spec.draw, partial(_drawn, spec, records, titles))
        except ConfigError as error:
            drawn.append(DrawnFigure(name, heading=name, problem=" ".join(str(error).split())))
            continue
        if drawing is not None:
            drawn.append(DrawnFigure(name, spec.section, spec.heading, spec.text, drawing))
    return drawn


def _drawn(
    spec: FigureSpec, records: Sequence[RunRecord], titles: Mapping[str, str], draw: Draw
) -> Drawing | None:
    return draw(spec, records, titles)


def figures_markdown(figures: Sequence[DrawnFigure], section: str, folder: str) -> list[str]:
    """Lines that show the figures of one section; `folder` is theirs, seen from the text ("": beside it)."""
    lines: list[str] = []
    for figure in (figure for figure in figures if figure.section == section):
        place = (PurePosixPath(folder) / figure.name).as_posix()
        shown = [figure.text, "", f"![{figure.heading}]({place}.png)"]
        lines += ["", f"### {figure.heading}", ""]
        lines += [f"Not drawn: {figure.problem}"] if figure.problem else shown
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
