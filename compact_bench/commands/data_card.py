"""What reports say of the data and the student of a session: only what is true of those that were used.

A suite's card and title are about its own questions, teachers and student. Where a user brings other
rationales, a card is made from what was counted in the file; where the student, teachers, world or settings
are others, the card says so before it speaks, and what it says of its own student is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compact_bench.core.written.names import shown
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.runs.session import Session

COPIES_SHOWN = 30
WARNED = 8
_UNKNOWN = (
    "Where questions and rationales come from, whether the teachers saw the gold answers, and on which "
    "terms their texts may be trained on, the file does not say."
)
_READ = (
    "An answer can be read where the rationale states one (a last number that is not said to be the answer "
    "is none); it is the gold one where the answer rule takes both for the same."
)


@dataclass(frozen=True)
class DataCard:
    """What a report says of a session's data.

    Attributes:
        title: of the data.
        text: the card, as Markdown.
        profile_note: what the suite says of its profile, where it is true of these runs; else "".
        teachers: name -> title, "" for an own file's.
        caveats: sentences that must stand beside the numbers.
        caption: what captions of tables call the data.
    """

    title: str
    text: str
    profile_note: str
    teachers: Mapping[str, str]
    caveats: tuple[str, ...]
    caption: str


def data_card(session: Session) -> DataCard:
    """The card of a session's data."""
    spec, file = session.spec, session.own_file
    copies = _copies_sentence(session)
    always = (_gaps_sentence(session), _own_metrics_sentence(session))
    if session.request.rationales is None:
        titles = {teacher.name: teacher.title for teacher in spec.teachers}
        return DataCard(
            spec.title,
            "\n".join(_suite_lines(session)),
            "" if _differences(session) or session.seeds != session.profile.seeds else session.profile.note,
            {name: titles.get(name, "") for name in session.teachers},
            tuple(filter(None, (copies if is_users(session) else "", *always))),
            f"Suite {spec.name}",
        )
    assert file is not None
    groups = (
        f"Training questions are of {shown(file.name)}; which benchmarks are called in-distribution, "
        f"out-of-distribution and retention is as suite {spec.name} has it for its own training questions, "
        "and says nothing of these."
    )
    return DataCard(
        f"{shown(file.name)}, on the benchmarks of suite {spec.name}",
        "\n".join(_own_lines(session)),
        "",
        dict.fromkeys(session.teachers, ""),
        tuple(filter(None, (groups, copies, *always))),
        f"Training data {shown(file.name)}, benchmarks of suite {spec.name}",
    )


def data_warnings(session: Session) -> list[str]:
    """What the user must know of near copies in an own file before anything is trained; none for others."""
    sentence = _copies_sentence(session)
    if not sentence or not is_users(session):
        return []
    pairs = session.data_notes["near_copies"]["pairs"]
    lines = [f"Warning: {sentence}", *(f"  - {_pair(pair)}" for pair in pairs[:WARNED])]
    if len(pairs) > WARNED:
        lines.append(f"  - and {len(pairs) - WARNED} more, in the run records")
    return [*lines, "  --on-overlap drop leaves these questions out, --on-overlap refuse stops."]


def is_users(session: Session) -> bool:
    """Whether training questions are the user's; what packaged ones have of near copies their pages say."""
    own_suite = session.request.suite.endswith(".toml") and session.spec.training.world is None
    return session.request.rationales is not None or own_suite


def _copies_sentence(session: Session) -> str:
    note: Mapping[str, Any] = session.data_notes.get("near_copies", {})
    if not note.get("questions"):
        return ""
    total = session.data_notes["questions"]
    # Of a short test question all words but one are enough, which may be a smaller share than was asked for.
    least = min(share for _, _, share in note["pairs"])
    return (
        f"{note['questions']} of {total} training and validation questions are near copies of test "
        f"questions: they hold at least {math.floor(100 * least)} % of a test question's words in the same "
        "order, and all its numbers."
    )


def _gaps_sentence(session: Session) -> str:
    """What a reader of the teachers' own rows must know of a ragged set; "" for another."""
    if not session.gaps:
        return ""
    drawn = session.data_notes.get("drawn_questions")
    of_which = f"questions of which every seed draws {drawn}" if drawn else "questions that are trained on"
    return (
        f"Of the {of_which}, {session.gaps.removeprefix('teachers: ')}. A row of one "
        "teacher alone is trained on the questions for which that teacher has a rationale, so such rows may "
        "differ in their questions and steps."
    )


def _own_metrics_sentence(session: Session) -> str:
    """What "accuracy" is where a benchmark is a task of the user's own; "" where none is."""
    own = [b for b in session.spec.benchmarks if b.task_file is not None]
    if not own:
        return ""
    metrics = ", ".join(f"{b.title} is the mean of {b.metric}" for b in own)
    return f"Of tasks of the user's own, accuracy is what their files score, in [0, 1] per item: {metrics}."


def _pair(pair: list[Any]) -> str:
    return f"question {pair[0]!r}: {pair[1]} ({pair[2]:.0%})"


def _differences(session: Session) -> list[str]:
    """In what the runs differ from what the suite itself would run."""
    request, spec = session.request, session.spec
    differences = []
    if request.student not in (None, spec.student):
        differences.append(f"student: {session.student_name} (not the suite's {spec.student})")
    if request.teachers:
        differences.append(f"teachers: {', '.join(request.teachers)} only, in this order")
    if request.world:
        differences.append(f"world: {', '.join(request.world)}")
    if request.overrides:
        differences.append(f"settings: {', '.join(request.overrides)}")
    for policy, value in (("--on-fault", request.on_fault), ("--on-overlap", request.on_overlap)):
        if value == "drop":
            differences.append(f"questions left out by {policy} drop, which the page on data lists")
    return differences


def _suite_lines(session: Session) -> list[str]:
    spec, differences = session.spec, _differences(session)
    lines = []
    if differences:
        lines += ["The card below is about the suite as it is. These runs differ from it in:", ""]
        lines += [*(f"- {escaped(text)}" for text in differences), ""]
        lines += ["Where the card speaks of these, it does not speak of these runs.", ""]
    lines.append(spec.card.strip())
    if session.student_name == spec.student and spec.student_card.strip():
        lines += ["", spec.student_card.strip()]
    else:
        lines += _student_lines(session)
    if session.own_file is not None:
        return [*lines, "", *_counted_lines(session)]
    if copies := _copies_sentence(session):
        lines += ["", f"Counted in these data: {copies}"]
    return lines


def _own_lines(session: Session) -> list[str]:
    spec, notes = session.spec, session.data_notes
    items = notes.get("items", {})
    benchmarks = [
        (b.title, b.group.replace("_", " "), b.metric, _items(session, b.group, items.get(b.task)))
        for b in spec.benchmarks
    ]
    changes = [text for text in _differences(session) if not text.startswith("student: ")]
    changed = (
        ["", "Given with the command:", "", *(f"- {escaped(text)}" for text in changes)] if changes else []
    )
    return [
        "Questions and rationales are of a file of the user's own. The card of the suite that gives the "
        "benchmarks tells of other data and is not shown here; what follows was counted in the file.",
        *changed,
        "",
        *_counted_lines(session),
        *_student_lines(session),
        "",
        f"## Benchmarks, of suite {spec.name}",
        "",
        *grid(("Benchmark", "Group", "Metric", "Items"), benchmarks, words=3),
        "",
        "The groups are the suite's, made for its own training questions; whether a benchmark is in the "
        "distribution of the questions here, nobody has checked.",
        "",
        "## What is not known",
        "",
        _UNKNOWN,
    ]


def _student_lines(session: Session) -> list[str]:
    return [
        "",
        "## Student",
        "",
        f"{escaped(session.student_title)}; fingerprint of its weights and tokenizer: "
        f"{session.student_revision}.",
    ]


def _items(session: Session, group: str, there: int | None) -> str:
    """How many of a benchmark's items these runs evaluate."""
    asked = session.settings.eval
    if there is None:
        return ""
    if asked.groups is not None and group not in asked.groups:
        return f"none of {there}"
    limit = asked.items_per_task
    return str(there) if limit is None or limit >= there else f"{limit} of {there}"


def _counted_lines(session: Session) -> list[str]:
    """What was counted in the user's file."""
    notes, own, file = session.data_notes, session.data_notes["own_data"], session.own_file
    assert file is not None
    rationales = sum(counts["rationales"] for counts in own["teachers"].values())
    draws = "every seed of profile {} draws {}" if "drawn_questions" in notes else "profile {} uses {}"
    uses = f", of which {draws.format(session.request.profile, own['trained'])}"
    known = own["right_known"]
    truth = "of all" if known == rationales else f"of {known}" if known else "of none"
    rows = [
        (
            name,
            str(counts["rationales"]),
            _share(counts["readable"], counts["rationales"]),
            _share(counts["gold"], counts["rationales"]),
            _spread(counts["words"]),
        )
        for name, counts in own["teachers"].items()
    ]
    head = (
        "Teacher",
        "Rationales",
        "Answer can be read, %",
        "Gold answer, %",
        "Words (fewest, median, most)",
    )
    return [
        "## Training data",
        "",
        f"- File: {escaped(file.name)}, {own['bytes']:,} bytes, sha256 {own['sha256']}",
        f"- Questions: {notes['questions']}; {notes['training_questions']} to train on"
        f"{uses if own['trained'] < notes['training_questions'] else ''}, {notes['validation_questions']} "
        "set aside for validation",
        f"- Words of a question (fewest, median, most): {_spread(own['question_words'])}",
        f"- Rationales: {rationales}; it is known {truth} of them whether they are really right",
        "",
        *grid(head, rows),
        "",
        _READ,
        "",
        "## Overlap with test questions",
        "",
        *_overlap_lines(session),
    ]


def _overlap_lines(session: Session) -> list[str]:
    lines = ["No question is word for word a test question: those are refused, or left out and listed."]
    sentence = _copies_sentence(session)
    if not sentence:
        return [*lines, "", "No near copy of a test question was found among the questions that are used."]
    pairs = session.data_notes["near_copies"]["pairs"]
    lines += ["", sentence, "", *(f"- {escaped(_pair(pair))}" for pair in pairs[:COPIES_SHOWN])]
    return lines + ([f"- and {len(pairs) - COPIES_SHOWN} more"] if len(pairs) > COPIES_SHOWN else [])


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def _spread(counts: list[int]) -> str:
    return ", ".join(map(str, counts)) or "none"
