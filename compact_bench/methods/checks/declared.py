"""Checks of what a method says of itself: card, configuration, constructor, the suites it runs on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from compact_bench.core.settings import Strict
from compact_bench.methods.checks.results import MethodError, guarded
from compact_bench.methods.checks.subject import Subject
from compact_bench.methods.checks.watching import GlobalState, Watch, generator_states, watching
from compact_bench.methods.checks.world import World
from compact_bench.methods.contract import GAPS, SUITE_DATA, Claim, MethodCard, SuiteInfo, config_doc, refusal

UNKNOWN = "no_such_setting"


def card(subject: Subject) -> list[str]:
    """What is wrong with the card and the variants."""
    card = getattr(subject.kind, "card", None)
    if not isinstance(card, MethodCard):
        return [f"`card` is {type(card).__name__}, expected a MethodCard"]
    problems = [
        f"card.{name} is empty: say {what}"
        for name, what in (
            ("title", "in one line what the method is"),
            ("source", "where it comes from, or that it is your own"),
        )
        if not getattr(card, name).strip()
    ]
    for name in ("deviations", "ours", "needs"):
        lines = getattr(card, name)
        if isinstance(lines, str) or not all(isinstance(t, str) and t.strip() for t in lines):
            problems.append(f"card.{name} must be a tuple of sentences, got {lines!r}")
    if any(data not in SUITE_DATA for data in card.requires):
        problems.append(f"card.requires must be a tuple of {', '.join(SUITE_DATA)}, got {card.requires!r}")
    if any(gap not in GAPS for gap in card.allows):
        problems.append(f"card.allows must be a tuple of {', '.join(GAPS)}, got {card.allows!r}")
    if card.min_teachers < 0:
        problems.append(f"card.min_teachers is {card.min_teachers}, expected 0 (untrained) or more")
    if not all(isinstance(claim, Claim) for claim in card.claims):
        problems.append("card.claims must be a tuple of Claim")
    return problems


def configuration(subject: Subject) -> list[str]:
    """What is wrong with the configuration: kind, frozen, documented, strict; and its variants."""
    kind: Any = subject.kind.config_type
    if not (isinstance(kind, type) and issubclass(kind, Strict)):
        return ["`config_type` must be a class derived from compact_bench.core.settings.Strict"]
    config, problems = subject.config(), []
    undocumented = [name for name in kind.model_fields if name not in config_doc(kind)]
    if undocumented:
        problems.append(
            f"the docstring of {kind.__name__} does not say what {', '.join(undocumented)} is: add an "
            "`Attributes:` section with every field and its unit"
        )
    for name in kind.model_fields:
        if _accepts(lambda name=name: setattr(config, name, getattr(config, name))):
            problems.append(f"{kind.__name__} is not frozen: {name} can be set; leave Strict's model_config")
            break
    if _accepts(lambda: kind.model_validate({**subject.values, UNKNOWN: 1})):
        problems.append(f"{kind.__name__} accepts an unknown setting; leave Strict's model_config as it is")
    variants: Mapping[str, Mapping[str, Any]] = getattr(subject.kind, "variants", {})
    for name, values in variants.items():
        try:
            replace(subject, values={**subject.values, **values}).config()
        except MethodError as error:
            problems.append(f"variant {name!r}: {error}")
    return problems


def _accepts(act: Any) -> bool:
    try:
        act()
    except ValidationError:
        return False
    return True


def constructor(subject: Subject) -> list[str]:
    """What the constructor does besides storing its configuration."""
    config, kind = subject.config(), subject.kind
    state, generators = GlobalState.now(), generator_states()
    attributes = dict(vars(kind))
    watch = Watch(reads=True)
    try:
        with watching(watch), guarded("the constructor"):
            method = kind(config)
        problems = [f"it changes {what}" for what in state.changes()]
        now = generator_states()
        problems += [f"it draws from {name}" for name in now if now[name] != generators[name]]
    finally:
        state.restore()
    problems += [f"it touches the file {path}" for path in dict.fromkeys(watch.files)]
    problems += [f"it asks the network for {target}" for target in dict.fromkeys(watch.network)]
    after = dict(vars(kind))
    changed = [name for name in after if after[name] is not attributes.get(name)]
    problems += [f"it sets the class attribute {name}" for name in changed]
    given = [config, *(getattr(config, name) for name in type(config).model_fields)]
    computed = [name for name, value in vars(method).items() if not any(value is known for known in given)]
    problems += [f"it computes the attribute {name}" for name in computed]
    if problems:
        problems.append("the constructor may only store its configuration: do the rest in fit")
    return problems


def supports(subject: Subject, world: World) -> list[str]:
    """Whether it runs on, or refuses with a reason, every kind of suite, as the card says."""
    card = subject.kind.card
    method = subject.make()
    flags = ("has_gold", *(f"has_{data}" for data in SUITE_DATA))
    for values in itertools.product((True, False), repeat=len(flags)):
        for count in range(1, len(world.suite.teachers) + 1):
            known: dict[str, Any] = dict(zip(flags, values, strict=True))
            answer = _ask(method, replace(world.of_teachers(count).suite, **known))
            if answer is not None and (not isinstance(answer, str) or not answer.strip()):
                return [f"supports() answered {answer!r}, expected None or the reason why not"]
    reason = _ask(method, world.suite)
    if reason is not None:
        return [f"it refuses a suite that has everything: {reason}"]
    problems = []
    few = world.of_teachers(max(card.min_teachers, 1)).suite
    reason = _ask(method, few)
    if reason is not None:
        problems.append(
            f"it refuses {len(few.teachers)} teacher(s), card.min_teachers says that this is enough: {reason}"
        )
    reason = _ask(method, replace(world.suite, has_gold=False))
    if not card.uses_gold and reason is not None:
        problems.append(
            f"it refuses a suite without gold answers ({reason}): set uses_gold=True on the card instead"
        )
    return problems


def _ask(method: Any, suite: SuiteInfo) -> Any:
    with guarded("supports"):
        return refusal(method, suite)
