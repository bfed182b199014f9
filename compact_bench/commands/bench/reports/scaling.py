"""The result of `bench scaling` as tables, sentences and pictures."""

from __future__ import annotations

from collections.abc import Callable

from compact_bench.commands.bench.measuring.fits import Fit
from compact_bench.commands.bench.measuring.results import ContenderResult
from compact_bench.commands.bench.reports.tables import GIB, FittingTable, machine_note
from compact_bench.commands.bench.scaling import ScalingAxis, ScalingResult
from compact_bench.results.figures import Drawing, Line, Panel, Point, draw
from compact_bench.results.report.markdown import grid

TITLES = {
    "teachers": "teachers K",
    "rationale_tokens": "tokens of a rationale",
    "questions_per_step": "questions of a step",
}


def scaling_markdown(result: ScalingResult) -> str:
    """All axes as Markdown."""
    base = result.base
    lines = [
        "# Growth of a training step",
        "",
        f"- {machine_note(result.settings, result.compute, result.provenance)}",
        f"- Medians of {result.repeats} step(s); all points of an axis in turn. What an axis does not vary: "
        f"K = {base.teachers}, rationales of about {base.rationale_tokens} tokens, "
        f"{base.questions_per_step} question(s) a step. Memory is the peak of a fresh process.",
    ]
    for axis in result.axes:
        head, rows = _cells(axis)
        lines += ["", f"## By {TITLES[axis.name]}", "", *grid(head, rows), ""]
        lines += [f"- {sentence}" for sentence in growth_sentences(axis)]
    return "\n".join([*lines, ""])


def axis_table(axis: ScalingAxis) -> FittingTable:
    """One axis for a terminal."""
    return FittingTable(*_cells(axis), words=0)


def growth_sentences(axis: ScalingAxis) -> list[str]:
    """What the fits and the skipped points show."""
    sentences = []
    for name in _names(axis):
        for what, fits, unit, scale in (
            ("time", axis.time, "s", 1.0),
            ("peak memory", axis.memory, "GiB", GIB),
        ):
            if name in fits:
                sentences.append(f"{name}, {what}: {_growth(fits[name], unit, scale)}")
    for point in axis.points:
        sentences += [f"{name} at {point.value}: not measured, {why}" for name, why in point.skipped.items()]
    low, high = axis.ceiling.square.low / 1e9, axis.ceiling.square.high / 1e9
    return [*sentences, f"the ceiling was {low:.0f} to {high:.0f} GFLOP/s meanwhile"]


def _growth(fit: Fit, unit: str, scale: float) -> str:
    line = (
        f"{fit.slope / scale:.4g} {unit} for each more and {fit.intercept / scale:.3g} {unit} besides, "
        f"R² of the line {fit.r_squared:.4f}"
    )
    if fit.exponent is None or fit.constant is None:
        return line
    return (
        f"{line}; grows with the power {fit.exponent:.2f} above a constant {fit.constant / scale:.3g} {unit}"
    )


def _names(axis: ScalingAxis) -> list[str]:
    """Contenders that were measured somewhere, in their order."""
    return list(dict.fromkeys(c.name for point in axis.points for c in point.contenders))


def _cells(axis: ScalingAxis) -> tuple[list[str], list[list[str]]]:
    names = _names(axis)
    head = [TITLES[axis.name], "tokens"]
    for name in names:
        head += [f"{name}, s", f"{name}, tokens/s", f"{name}, GiB"]
    rows = []
    for point in axis.points:
        row = [str(point.value), f"{point.work.tokens:,}"]
        known = {c.name: c for c in point.contenders}
        for name in names:
            result = known.get(name)
            if result is None:
                row += ["-", "-", "-"]
                continue
            memory = result.memory.peak_bytes / GIB
            row += [f"{result.seconds.median:.3f}", f"{result.tokens_per_second:,.0f}", f"{memory:.2f}"]
        rows.append(row)
    return head, rows


def scaling_drawings(result: ScalingResult) -> dict[str, Drawing]:
    """File name without ending -> picture, one for each axis: time on the left, memory on the right."""
    return {f"bench_scaling_{axis.name}": _drawing(axis) for axis in result.axes}


def _drawing(axis: ScalingAxis) -> Drawing:
    ticks = tuple(float(point.value) for point in axis.points)
    title = TITLES[axis.name]
    time = _lines(axis, lambda x, c: Point(x, c.seconds.median, c.seconds.low, c.seconds.high))
    memory = _lines(axis, lambda x, c: Point(x, c.memory.peak_bytes / GIB))
    panels = (
        Panel("Time", title, "one step, s", time, ticks),
        Panel("Peak memory", title, "of a fresh process, GiB", memory, ticks),
    )
    return draw(f"A training step by {title}", panels)


def _lines(axis: ScalingAxis, read: Callable[[float, ContenderResult], Point]) -> tuple[Line, ...]:
    return tuple(
        Line(
            name,
            tuple(
                read(float(point.value), contender)
                for point in axis.points
                for contender in point.contenders
                if contender.name == name
            ),
            style,
        )
        for style, name in enumerate(_names(axis))
    )
