"""The checks in their order, and which of them stand on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from compact_bench.core.errors import ConfigError
from compact_bench.methods.checks import declared, repeated, trained
from compact_bench.methods.checks.fits import Fit, one_fit
from compact_bench.methods.checks.results import CheckResult, MethodError
from compact_bench.methods.checks.subject import Subject, find_subject
from compact_bench.methods.checks.watching import GlobalState
from compact_bench.methods.checks.world import World, small_world
from compact_bench.methods.contract import METHOD_PARTS

CHECKS: Mapping[str, str] = {
    "import": "the method can be imported and has card, config_type and fit",
    "card": "title and source are there; deviations, choices, needs and claims are lists of sentences",
    "configuration": "frozen, strict, every field documented; every variant is accepted",
    "constructor": "it only stores the configuration",
    "supports": "every kind of suite is accepted or refused with a reason, as the card says",
    "trains": "a fit moves the weights; report, log and steps table are whole and agree",
    "budget": "no optimiser step and no token more than the report and the card say",
    "determinism": "the same seed gives the same bits, wherever the global generators stand",
    "global state": "the process and the student's flags are as before",
    "files": "nothing is written outside the run's folder",
    "network": "the network is not used",
    "inputs": "questions, settings and tokenizer are not changed",
    "fewest teachers": "it trains with as few teachers as the card says",
    "ragged": "what card.allows: it trains where teachers lack questions or have several rationales",
    "whole weights": "it trains a student without adapters, on rows of their own for every rationale",
    "teacher order": "the order in which a question names its teachers does not matter",
    "gold use": "without uses_gold on the card, gold answers change nothing",
    "truth use": "where it runs without the truth about rationales, the truth changes nothing",
    "pairs use": "the same of right and wrong rationales in pairs",
    "reviews use": "the same of the teachers' scores of one another",
    "feedback use": "the same of feedback and the mistakes it is about",
    "resume": "a run that is killed after any step ends like one that is not",
}
"""Check -> what it requires of a method."""

Ask = Callable[[], list[str]]


class _Results:
    """Results in the order of `CHECKS`, each told as soon as it is known."""

    def __init__(self, on_result: Callable[[CheckResult], None]) -> None:
        self.found: dict[str, CheckResult] = {}
        self.on_result = on_result

    def add(self, name: str, problems: list[str]) -> bool:
        """Keep what a check found; whether it passed."""
        self.found[name] = CheckResult(name, not problems, "; ".join(problems))
        self.on_result(self.found[name])
        return not problems

    def ask(self, name: str, check: Ask) -> bool:
        """Make a check; what the method raises is what it found."""
        try:
            return self.add(name, check())
        except MethodError as error:
            return self.add(name, [str(error)])

    def finish(self, reason: str) -> list[CheckResult]:
        """All results; what was not made is said to be so."""
        for name in CHECKS:
            if name not in self.found:
                self.found[name] = CheckResult(name, None, reason)
        return [self.found[name] for name in CHECKS]


def check_method(
    method: str | Path | type[Any],
    *,
    config: Mapping[str, Any] | None = None,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> list[CheckResult]:
    """Check a method against the contract by fitting a tiny student on six questions; takes seconds.

    Args:
        method: a registered name, "name[variant]", a Python file that defines METHOD, or a class.
        config: values of its configuration. Without them the defaults; a required field `teacher` gets the
            first teacher, other required ones come from the class attribute `example_config`.
        on_result: called with every result.

    Returns:
        One result for each of `CHECKS`, in their order. A method that cannot be imported fails "import", and
        nothing else is checked.

    Raises:
        UnknownNameError: no method or variant has this name; near matches are suggested.
    """
    world, results = small_world(), _Results(on_result)
    outside = GlobalState.now()
    # Tiny tensors are slower with more threads.
    torch.set_num_threads(1)
    try:
        subject = _imported(results, method, config, world)
        if subject is None:
            return results.finish("not checked, as it cannot be imported")
        return results.finish(_check(subject, world, results))
    finally:
        outside.restore()


def _imported(
    results: _Results, method: str | Path | type[Any], config: Mapping[str, Any] | None, world: World
) -> Subject | None:
    try:
        subject = find_subject(method, config, world.suite.teachers[0])
    except ConfigError as error:
        if type(error) is not ConfigError:
            raise
        results.add("import", [str(error)])
        return None
    missing = [part for part in METHOD_PARTS if not hasattr(subject.kind, part)]
    return subject if results.add("import", [f"it has no {part}" for part in missing]) else None


def _check(subject: Subject, world: World, results: _Results) -> str:
    """Make the checks that can be made; why the others cannot."""
    sound = results.ask("card", lambda: declared.card(subject))
    if not results.ask("configuration", lambda: declared.configuration(subject)) or not sound:
        return "not checked, as card or configuration is not in order"
    results.ask("constructor", lambda: declared.constructor(subject))
    answers = results.ask("supports", lambda: declared.supports(subject, world))
    try:
        first = one_fit(subject, world, disturbed=1)
        second = one_fit(subject, world, disturbed=2)
    except MethodError as error:
        results.add("trains", [str(error)])
        return "not checked, as a fit fails"
    return _check_fits(subject, world, first, second, results, answers)


def _check_fits(
    subject: Subject, world: World, first: Fit, second: Fit, results: _Results, answers: bool
) -> str:
    card = subject.kind.card
    idle = card.min_teachers == 0

    def trains(fit: Fit, world: World) -> list[str]:
        return trained.untrained(fit) if idle else trained.trains(fit, world)

    if not results.add("trains", trains(first, world)):
        return "not checked, as a fit is not in order"
    whole, failure = _whole_weights(subject, world)
    results.add("budget", trained.budget(first, whole, card, world))
    same = results.add("determinism", repeated.determinism(first, second))
    results.add("global state", trained.global_state(first, second))
    results.add("files", trained.files(first))
    results.add("network", trained.network(first))
    results.add("inputs", trained.inputs(first))
    few = world.of_teachers(max(card.min_teachers, 1))
    results.ask("fewest teachers", lambda: trains(one_fit(subject, few), few))
    uneven = world.ragged(card.allows)
    results.ask("ragged", lambda: [] if idle or not card.allows else _ragged(subject, uneven, first))
    results.add("whole weights", [failure] if whole is None else trains(whole, world))
    if not same:
        return "not checked, as two equal fits already differ"
    if not answers:
        return "not checked, as supports() is not in order"
    if idle:
        for name in ("teacher order", *repeated.KNOWLEDGE, "resume"):
            results.add(name, [])
        return ""
    results.ask("teacher order", lambda: repeated.teacher_order(subject, world, first))
    for name, problems in repeated.undeclared(subject, world, first, card).items():
        results.add(name, problems)
    results.ask("resume", lambda: repeated.resume(subject, world, first))
    return ""


def _ragged(subject: Subject, uneven: World, first: Fit) -> list[str]:
    fit = one_fit(subject, uneven)
    return trained.trains(fit, uneven) or trained.ragged(fit, uneven, first)


def _whole_weights(subject: Subject, world: World) -> tuple[Fit | None, str]:
    try:
        return one_fit(subject, world, lora=False), ""
    except MethodError as error:
        return None, str(error)
