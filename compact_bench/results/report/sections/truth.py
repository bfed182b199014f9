"""Whether the weights go to the rationales that are right: tables and sentences, from run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.records import Cell, RunRecord, value_at
from compact_bench.results.report.formatting import Reasons
from compact_bench.results.report.markdown import LONG_ROWS, escaped, folded, grid
from compact_bench.results.report.sections import ReportSection
from compact_bench.results.report.sections.truth_figure import common_windows, seed_mean, training_windows
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.cells import empty_cell

SCORES = {
    "consensus": "consensus",
    "adaptability": "adaptability",
    "difficulty": "difficulty (sign turned)",
    "fused": "the weight made of all three",
}
CHANCE = 0.5
EQUAL = 1.0
"""Relative regret of equal weights."""
ROUNDING = 1e-9
TEACHER_COLUMNS = 6
"""More rows than these stand below one another."""
NO_REASON = "not recorded"
NOT_READ = "the method read none of its rationales"
PROBE = "probes.truth."
"""Where records have truth scores."""
Scores = Mapping[str, Any]


@dataclass(frozen=True)
class _Row:
    """A row with truth scores.

    Attributes:
        label, title: of its runs, and as shown.
        runs: truth scores of its finished runs, in the order of seeds.
        cells: name of a score ("auc.fused") -> its cell, as a table has it.
        constant: whether all weight is on one teacher, whatever the question.
    """

    label: str
    title: str
    runs: tuple[Scores, ...]
    cells: Mapping[str, Cell]
    constant: bool

    def cell(self, name: str) -> Cell:
        """The cell of one score; an empty one where the table does not show it."""
        return self.cells.get(name) or empty_cell(self.label, name, NO_REASON)

    @property
    def questions(self) -> int:
        """How many questions its weights are measured on; the fewest of any seed."""
        return min(int(run.get("questions", 0)) for run in self.runs)

    @property
    def equal(self) -> Cell:
        """What equal weights would put on right rationales of these questions: known, and no estimate."""
        return seed_mean(self.runs, "uniform_share")


def truth_sections(
    tables: Sequence[Table], records: Sequence[RunRecord], titles: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Sentences and tables of the section; both empty where no table shows truth scores.

    Args:
        tables: their cells are the numbers that are shown.
        records: the runs behind them.
        titles: label of a row -> as shown.
    """
    rows = _rows(tables, records, titles)
    if not rows:
        return [], []
    sentences = [
        "Over training questions that have right and wrong rationales; 95 % intervals over seeds and "
        "questions, or over seeds alone where each draws its questions. Relative regret is the weight on "
        "wrong rationales over that of equal weights on the same questions; its interval, below or above 1, "
        "says whether a row does better or worse than they. An area under the ROC curve (AUC) is the "
        "probability that a right rationale of a question ranks above a wrong one; 0.5 is chance.",
        "",
    ]
    planned = {c.row for table in tables for c in table.comparisons if c.in_words}
    weighting = [row for row in rows if row.label in planned]
    for row in weighting:
        sentences += [f"- {escaped(text)}" for text in _sentences(row)]
    sentences += [f"- {escaped(text)}" for text in _best_constant(rows, weighting)]
    reasons = Reasons()
    ranked, shares = _methods(rows, reasons), _teachers(rows, reasons)
    if len(rows) > LONG_ROWS:
        ranked = folded(f"Truth scores, {len(rows)} rows", ranked)
        shares = folded("Weight on each teacher", shares)
    shown = [*ranked, "", *_confounds(rows, reasons), "", *shares]
    if weighting:
        shown += ["", *_families(weighting, reasons), "", *_windows(records, weighting, reasons)]
    for text in reasons.listing:
        shown += ["", escaped(text)]
    return sentences, shown


def _rows(tables: Sequence[Table], records: Sequence[RunRecord], titles: Mapping[str, str]) -> list[_Row]:
    """Rows that have truth scores, by label; a row of several tables has the cells of the first of them."""
    cells: dict[str, dict[str, Cell]] = {}
    constant = {row.row.name for table in tables for row in table.filled if row.row.kind == "each_teacher"}
    for table in reversed(tables):
        measures = [m for group in table.groups for m in group.columns if m.source.startswith(PROBE)]
        for row in (row.row.name for row in table.filled if row.runs and measures):
            cells[row] = {m.source.removeprefix(PROBE): table.cells[row, m.name] for m in measures}
    runs: dict[str, list[Scores]] = {}
    for record in sorted(records, key=lambda r: (r.key.label, r.key.seed)):
        scores = value_at(record, PROBE[:-1])
        if record.status == "done" and isinstance(scores, Mapping) and record.key.label in cells:
            runs.setdefault(record.key.label, []).append(scores)
    return [
        _Row(label, titles.get(label, label), tuple(of_row), cells[label], label in constant)
        for label, of_row in runs.items()
    ]


def _best_constant(rows: Sequence[_Row], weighting: Sequence[_Row]) -> list[str]:
    """What the single teacher that is right most often has; none where no single teacher ran."""
    # Of a teacher's two rows, which have the same share, the one with a single pass.
    shares = [
        (mean, ":" not in row.label, row.title)
        for row in rows
        if row.constant and (mean := row.cell("weight_on_right").mean) is not None
    ]
    if not shares or not weighting:
        return []
    share, _, title = max(shares, key=lambda one: one[:2])
    return [
        f"{title}, which puts all weight on one teacher whatever the question, has "
        f"{_percent(share)} % on right rationales. A method with no more than that may have found "
        "this teacher without telling right from wrong rationales: see its AUCs, and the weights per teacher."
    ]


def _side(cell: Cell, level: float) -> int:
    """1 where the interval is above a level, -1 where it is below, 0 where it cannot be told."""
    if cell.low is None or cell.high is None:
        return 0
    return int(cell.low > level + ROUNDING) - int(cell.high < level - ROUNDING)


def _sentences(row: _Row) -> list[str]:
    share, regret, equal = row.cell("weight_on_right"), row.cell("relative_regret"), row.equal.mean
    if share.mean is None or regret.mean is None or equal is None:
        return [f"{row.title}: nothing can be told ({share.reason or regret.reason or NO_REASON})."]
    side = {-1: "more than", 0: "which cannot be told from", 1: "less than"}[_side(regret, EQUAL)]
    seeds = "1 seed" if share.seeds == 1 else f"{share.seeds} seeds"
    questions = "1 question" if row.questions == 1 else f"{row.questions} questions"
    between = (
        "" if share.low is None or share.high is None else f" [{_percent(share.low)}, {_percent(share.high)}]"
    )
    sentences = [
        f"{row.title} puts {_percent(share.mean)} %{between} of its weight on right rationales, {side} the "
        f"{_percent(equal)} % that equal weights would (relative regret {_interval(regret)}; "
        f"n = {seeds}, {questions})."
    ]
    ranking: dict[int, list[str]] = {1: [], -1: [], 0: []}
    missing: dict[str, list[str]] = {}
    for score, name in SCORES.items():
        area = row.cell(f"auc.{score}")
        if area.mean is None:
            missing.setdefault(area.reason, []).append(name)
        else:
            ranking[_side(area, CHANCE)].append(f"{name} (AUC {_interval(area)})")
    for group, words in (
        (1, "ranks right above wrong rationales better than chance"),
        (-1, "ranks right above wrong rationales worse than chance"),
        (0, "cannot be told from chance"),
    ):
        if ranking[group]:
            sentences.append(f"{row.title}: what {words}: {', '.join(ranking[group])}.")
    sentences += _length_sentence(row)
    return sentences + [
        f"{row.title}: no ranking by {', '.join(names)}: {reason}." for reason, names in missing.items()
    ]


def _length_sentence(row: _Row) -> list[str]:
    """What adaptability's AUC is worth beside the length that it follows; none where it is not recorded."""
    known = {
        name: seed_mean(row.runs, f"{name}.adaptability").mean
        for name in ("length_correlation", "auc_within_teacher", "auc_within_length")
    }
    if known["length_correlation"] is None:
        return []
    correlation, teacher, length = ("none" if v is None else _number(v) for v in known.values())
    return [
        f"{row.title}: adaptability is a sum over tokens; within a question its rank correlation with the "
        f"number of words is {correlation}. Its AUC is {teacher} within a teacher and {length} among "
        "rationales of like length."
    ]


def _number(value: float) -> str:
    # A zero has no sign, whatever rounding left of it.
    return f"{round(value, 3) + 0.0:.3f}"


def _percent(value: float) -> str:
    return f"{value * 100:.1f}"


def _interval(cell: Cell, questions: int = 0) -> str:
    """A cell's mean and interval, and what the interval is over where it is not all of a row's questions."""
    mean = _number(cell.mean or 0.0)
    if cell.low is None or cell.high is None:
        return mean
    over = f"n = {cell.items}" if cell.items else "over seeds"
    shown = "" if cell.items == (questions or cell.items) else f" ({over})"
    return f"{mean} [{_number(cell.low)}, {_number(cell.high)}]{shown}"


def _methods(rows: Sequence[_Row], reasons: Reasons) -> list[str]:
    head = ["Row", "Seeds", "Questions", "Weight on right", "Equal weights", "Relative regret"]
    head += [f"AUC, {score}" for score in SCORES]
    lines = []
    for row in rows:
        texts = []
        for name in ("weight_on_right", "relative_regret", *(f"auc.{score}" for score in SCORES)):
            cell = row.cell(name)
            texts.append(reasons.short(cell.reason) if cell.mean is None else _interval(cell, row.questions))
        texts.insert(1, _mean_text(row.runs, "uniform_share", reasons))
        lines.append([row.title, str(len(row.runs)), str(row.questions), *texts])
    return grid(head, lines)


def _confounds(rows: Sequence[_Row], reasons: Reasons) -> list[str]:
    """Whether the scores see what is right, or the teacher and the length."""
    kinds = {
        "length_correlation": "correlation with length",
        "auc_within_teacher": "AUC within teacher",
        "auc_within_length": "AUC within length",
    }
    shown = [row for row in rows if row.runs[0].get("length_correlation", {}).get("adaptability") is not None]
    if not shown:
        return []
    lines = [
        [row.title, SCORES[score], *(_mean_text(row.runs, f"{kind}.{score}", reasons) for kind in kinds)]
        for row in shown
        for score in SCORES
    ]
    text = (
        "Right, or long? Spearman's correlation of a score with the number of words within a question; and "
        "the AUC over pairs of one teacher's rationales (of different questions), and over pairs of like "
        "length (a fifth of all rationales by words). Means over seeds. Adaptability is a sum over tokens."
    )
    return [text, "", *grid(["Row", "Score", *kinds.values()], lines)]


def _teachers(rows: Sequence[_Row], reasons: Reasons) -> list[str]:
    # A single teacher's weights say nothing: its own is 1.
    shown = [row for row in rows if not row.constant]
    every: dict[str, list[Scores]] = {}
    for row in rows:
        # A row that reads all teachers' questions tells of a teacher over all seeds' draws.
        of_row: dict[str, list[Scores]] = {}
        for run in row.runs:
            for name, facts in run["by_teacher"].items():
                of_row.setdefault(name, []).append(facts)
        every |= of_row
    head = ["Teacher", "Right", *(f"Weight, {row.title}" for row in shown)]
    lines = []
    for teacher, facts in every.items():
        weights = []
        for row in shown:
            measured = [run["by_teacher"][teacher] for run in row.runs if teacher in run["by_teacher"]]
            weights.append(_mean_text(measured, "mean_weight", reasons, NOT_READ))
        lines.append([teacher, _mean_text(facts, "right_share", reasons), *weights])
    text = "Teachers: share of right rationales, and mean weight over questions, mean over seeds."
    if len(shown) > TEACHER_COLUMNS:
        # A column per row would be too many to read: turned, there is one per teacher.
        turned = zip(head[1:], *(line[1:] for line in lines), strict=True)
        head, lines = ["Row", *(line[0] for line in lines)], [list(cells) for cells in turned]
    return [text, "", *grid(head, lines)]


def _families(rows: Sequence[_Row], reasons: Reasons) -> list[str]:
    every = (entry["family"] for row in rows for run in row.runs for entry in run["by_family"])
    head = ["Family", "Equal weights"]
    for row in rows:
        head += [f"Weight on right, {row.title}", f"AUC of the weight, {row.title}"]
    lines = []
    for family in dict.fromkeys(every):
        entries = [
            [entry for run in row.runs for entry in run["by_family"] if entry["family"] == family]
            for row in rows
        ]
        texts = [_mean_text(next(of_family for of_family in entries if of_family), "uniform_share", reasons)]
        for of_family in entries:
            texts += [_mean_text(of_family, name, reasons) for name in ("weight_on_right", "auc.fused")]
        lines.append([family, *texts])
    return ["By family of questions, mean over seeds.", "", *grid(head, lines)] if lines else []


def _windows(records: Sequence[RunRecord], rows: Sequence[_Row], reasons: Reasons) -> list[str]:
    names = ("weight_on_right", *(f"auc.{score}" for score in SCORES))
    lines = []
    titles = {row.label: row.title for row in rows}
    for label, runs in training_windows(records, list(titles)).items():
        common = common_windows(runs)
        for window in dict.fromkeys([*common[:1], *common[-1:]]):
            entries = [windows[window] for windows in runs]
            texts = [_mean_text(entries, name, reasons) for name in names]
            lines.append([titles[label], "{} to {}".format(*window), *texts])
    head = ["Row", "Steps", "Weight on right", *(f"AUC, {score}" for score in SCORES)]
    return ["At the start and at the end of training, mean over seeds.", "", *grid(head, lines)]


def _mean_text(entries: Sequence[Scores], name: str, reasons: Reasons, reason: str = "") -> str:
    """Mean of a value over seeds, which says where only some have it; or why none has.

    Args:
        entries: one per seed.
        name: the value's dotted name.
        reasons: collects long reasons.
        reason: why there is none; "" for what the entries say.
    """
    cell = seed_mean(entries, name)
    if cell.mean is None:
        key = name.replace(".", "_")
        recorded = [entry["reasons"][key] for entry in entries if key in entry.get("reasons", {})]
        return reasons.short(reason or next(iter(recorded), NO_REASON))
    text = _number(cell.mean)
    return text if cell.seeds == len(entries) else f"{text} ({cell.seeds} of {len(entries)} seeds)"


TRUTH = ReportSection(
    "truth",
    "Do the weights go to the rationales that are right?",
    "Every row, teacher and family",
    truth_sections,
)
