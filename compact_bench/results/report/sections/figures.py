"""Figures beside RESULTS.md: each a file `figure_NAME.toml`, and a function that draws it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import Field, ValidationError

from compact_bench.core.errors import ConfigError
from compact_bench.core.files import write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.core.registry import Registry
from compact_bench.core.settings import Strict, describe_validation_error
from compact_bench.results.figures import Drawing
from compact_bench.results.tables.spec import definition_file, packaged_definitions


class FigureSpec(Strict):
    """What a figure shows, as data.

    Attributes:
        draw: name of the function that draws it.
        title: one line, for the picture.
        heading: one line, above it in RESULTS.md.
        text: how it is read.
        section: the section of RESULTS.md that it stands in: "truth", or "" for the one of figures.
        rows: labels of the rows that are drawn; what an empty list means is the function's to say.
        series: lines or groups of a panel: where a record has the value -> as shown.
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
    """A figure that is shown.

    Attributes:
        name: of its files, without their ends.
        spec: what it shows; None where that could not be read.
        drawing: the files, or None where another package failed to draw.
        problem: why, or "".
    """

    name: str
    spec: FigureSpec | None
    drawing: Drawing | None
    problem: str = ""

    @property
    def section(self) -> str:
        """Where it is shown."""
        return self.spec.section if self.spec is not None else ""


def load_figure_spec(name: str) -> FigureSpec:
    """Read and check a figure's definition.

    Args:
        name: a registered one, or the path of a TOML file.

    Raises:
        UnknownNameError: there is no such figure.
        ConfigError: the file is no TOML or has wrong fields; all of them are listed.
    """
    path = definition_file("figure", name)
    try:
        return FigureSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: expected TOML: {error}.") from None
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, path.name)) from None


def draw_figures(records: Sequence[RunRecord], titles: Mapping[str, str]) -> list[DrawnFigure]:
    """Every figure that the records have something for, by name; or why one cannot be drawn.

    Args:
        records: the runs behind the tables, under one set of settings.
        titles: label of a row -> as shown.
    """
    found = []
    for name in sorted(packaged_definitions("figure")):
        spec: FigureSpec | None = None
        try:
            spec = figure = load_figure_spec(name)
            drawing = FIGURES.call(spec.draw, lambda draw, figure=figure: draw(figure, records, titles))  # type: ignore[misc]
        except ConfigError as error:
            found.append(DrawnFigure(name, spec, None, str(error)))
            continue
        if drawing is not None:
            found.append(DrawnFigure(name, spec, drawing))
    return found


def figures_markdown(figures: Sequence[DrawnFigure], section: str, folder: str) -> list[str]:
    """Lines that show the figures of one section.

    Args:
        figures: all of them.
        section: its name.
        folder: where the pictures lie, seen from the text; "" for beside it.
    """
    lines: list[str] = []
    for figure in (figure for figure in figures if figure.section == section):
        heading = figure.spec.heading if figure.spec is not None else figure.name
        lines += ["", f"### {heading}", ""]
        if figure.spec is None or figure.drawing is None:
            lines += [f"Not drawn: {' '.join(figure.problem.split())}"]
            continue
        place = (PurePosixPath(folder) / figure.name).as_posix()
        lines += [figure.spec.text, "", f"![{heading}]({place}.png)"]
    return lines


def write_figures(figures: Sequence[DrawnFigure], folder: Path) -> None:
    """Write the pictures.

    Args:
        figures: all of them.
        folder: where; made if missing.

    Raises:
        StoreError: a file cannot be written.
    """
    for figure in figures:
        if figure.drawing is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / f"{figure.name}.png", figure.drawing.png)
            write_atomic(folder / f"{figure.name}.svg", figure.drawing.svg)
