"""`--set` and `--world`: every setting with every nasty value, and names that are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.attack import world
from tests.attack.cases import ANY, USAGE, Accepted, Case, Check, Either, Expected, Refused, dice
from tests.attack.driver import Done
from tests.attack.kinds import (
    REFUSE,
    TEXTS,
    Bool,
    Choice,
    Int,
    ListOf,
    OneOf,
    OrNull,
    Real,
    Word,
    meaning,
    right_values,
)

AREA = "settings"
AUTO = ("auto",)
GROUPS = Choice(("in_distribution", "out_of_distribution", "retention"))
RATE, COUNT, SHARE = Real(0, open_low=True), Int(1), Real(0, 1)
FIELDS: dict[str, Any] = {
    "train.dtype": Choice(("auto", "float32", "bfloat16")),
    "train.epochs": COUNT,
    "train.learning_rate": RATE,
    "train.weight_decay": Real(0),
    "train.warmup_steps": Int(0),
    "train.clip_norm": RATE,
    "train.questions_per_step": COUNT,
    "train.accumulation": COUNT,
    "train.gradient_checkpointing": Bool(),
    "train.max_length_tokens": COUNT,
    "train.layout": Choice(("auto", "packed", "padded")),
    "train.head": Choice(("auto", "single_pass", "recomputed", "at_once")),
    "train.logits_memory_mib": Int(0),
    "train.kernels": Choice(("auto", "plain", "lean", "liger")),
    "train.checkpoint_seconds": Real(0),
    "train.tracker": Choice(("none", "tensorboard", "trackio", "wandb")),
    "lora.enabled": Bool(),
    "lora.rank": COUNT,
    "lora.alpha": RATE,
    "lora.dropout": Real(0, 1, open_high=True),
    "lora.targets": OneOf((Choice(("all-linear",)), ListOf(Word()))),
    "eval.items_per_task": OrNull(COUNT),
    "eval.max_new_tokens": COUNT,
    "eval.batch_size": COUNT,
    "eval.engine": Choice(("fast", "harness", "vllm")),
    "eval.drift_passages": OrNull(COUNT),
    "eval.validation_questions": OrNull(COUNT),
    "eval.groups": OrNull(ListOf(GROUPS)),
    "method.temperature": Real(),
    "method.lambda_consistency": Real(),
    "method.beta_consensus": Real(),
    "method.epsilon": Real(),
    "method.sft_reduction": Choice(("mean", "sum")),
}
WORLD: dict[str, Any] = {
    "seed": Int(0),
    "questions": Int(8),
    "shortest_steps": Int(1, 7),
    "longest_steps": Int(1, 7),
    "strong_error_rate": SHARE,
    "weak_error_rate": SHARE,
    "ponder_error_rate": SHARE,
    "slip_rate": SHARE,
    "middling_error_rate": SHARE,
    "drawn_styles": SHARE,
    "right_answer_wrong_step_rate": SHARE,
    "shared_mistake": SHARE,
    "competence": SHARE,
    "review_error_rate": SHARE,
    "review_invalid_rate": SHARE,
}
SHORTENS = {"train.max_length_tokens"}
"""A sound value of it may refuse the rows themselves; then these values are not tried."""
COMPACT_TABLE = world.ONE_ROW.replace('"uniform"', '"compact"')
SET = (*world.PLAN, "--suite", world.SUITE)


def make_world(folder: Path) -> Any:
    """The usual world, a table with a row of COMPACT, and a tiny lab with its student."""
    from tests import tiny_suite

    world.make_world(folder)
    (folder / "compact.toml").write_text(COMPACT_TABLE, encoding="utf-8")
    student = tiny_suite.make_tiny_lab_student(folder / "lab-student")
    tiny_suite.write_tiny_lab(folder / "lab", str(student))
    return world.hold_student(folder)


def cases() -> Iterator[Case]:
    """All of the area."""
    yield from field_cases()
    yield from world_cases()
    yield from key_cases()


def field_cases() -> Iterator[Case]:
    """Every field with every text that can be an argument of a program, thinned where nothing fits."""
    for name, kind in FIELDS.items():
        table = "{world}/compact.toml" if name.startswith("method.") else "{world}/one.toml"
        words = tuple(word if word != "{world}/one.toml" else table for word in SET)
        for text in TEXTS:
            if not thinned(name, text) or "\x00" in text:
                continue
            section, _, field = name.partition(".")
            taken = values_in_keys(section, field)
            expected = expectation(kind, text, (field, "--set"), taken)
            if name in SHORTENS and not isinstance(expected, Refused):
                continue
            if name == "lora.targets" and text.startswith("[") and isinstance(expected, Refused):
                # core/written/values.py: where text is needed, "2024" and "true" are text too.
                expected = Either(expected, Accepted(), "names of layers are text, whatever they look like")
            yield Case(
                AREA, f"{name}={text[:40]!r}", (*words, "--set", f"{name}={text}"), expected, stratum=section
            )


def thinned(name: str, text: str) -> bool:
    """Whether a pair is tried: all plain values, and a drawn part of those that are odd or plainly wrong."""
    values = TEXTS[text].values
    if len(values) == 1 and values[0] is not REFUSE:
        return True
    return dice(name, text).random() < (0.4 if len(values) > 1 else 0.2)


def expectation(kind: Any, text: str, says: tuple[str, ...], taken: Callable[[list[Any]], Check]) -> Expected:
    """What a user is entitled to after giving a text for a field of a kind."""
    values = right_values(kind, meaning(text))
    good = [value for value in values if value is not REFUSE]
    refused = Refused(USAGE, (says,))
    if not good:
        return refused
    accepted = Accepted(taken(good))
    if REFUSE in values:
        return Either(refused, accepted, "the text can be read so, and a reader may be stricter")
    return accepted


def values_in_keys(section: str, field: str) -> Callable[[list[Any]], Check]:
    """Makes a check that every planned run has one of these values."""

    def taken(good: list[Any]) -> Check:
        def check(done: Done) -> str:
            if not done.keys:
                return "nothing was planned"
            got = [key.settings[section].get(field) for key in done.keys]
            return (
                ""
                if all(same_as_any(v, good) for v in got)
                else f"expected {good[0]!r:.40}, got {got!r:.200}"
            )

        return check

    return taken


def same_as_any(value: Any, good: list[Any]) -> bool:
    """Whether a value is one of some; true is not 1, and a tuple is the list of its values."""
    plain = list(value) if isinstance(value, tuple) else value
    return any(plain == one and isinstance(plain, bool) == isinstance(one, bool) for one in good)


def world_cases() -> Iterator[Case]:
    """`--world` on a tiny lab."""
    words = (*world.PLAN, "--suite", "{world}/lab/tinylab.toml")
    for name, kind in WORLD.items():
        for text in TEXTS:
            if not thinned(f"world {name}", text) or "\x00" in text or len(text) > 6000:
                continue
            expected = expectation(kind, text, (name, "--world"), world_value(name))
            if name in ("questions", "shortest_steps", "longest_steps") and not isinstance(expected, Refused):
                # Sizes must fit one another; these are tried by hand below.
                continue
            yield Case(
                AREA,
                f"world {name}={text[:40]!r}",
                (*words, "--world", f"{name}={text}"),
                expected,
                stratum="world",
            )
    for text, good in {
        "questions=16": True, "questions=8": True, "questions=7": False, "questions=99999999999": False,
        "longest_steps=2": True, "longest_steps=5": False, "shortest_steps=5": False, "shortest_steps=1": True,
        "shortest_long_steps=3": False, "longest_long_steps=7": True, "longest_long_steps=8": False,
        "longest_long_steps=4": False, "slip_rate=0": True, "slip_rate=1": True, "slip_rate=1.01": False,
        "=1": False, "slip_rate": False, "slip_rate=": False, "sliprate=0.1": False, "": False, "SLIP_RATE=0": False,
        "slip_rate=0.1=0.2": False, "training.slip_rate=0.1": False, "world.slip_rate=0.1": False,
    }.items():  # fmt: skip
        name, _, value = text.partition("=")
        check = world_value(name)([float(value)]) if good else None
        expected = Accepted(check) if good else Refused(USAGE, (("--world", name or "--world"),))
        yield Case(AREA, f"world: {text!r}", (*words, "--world", text), expected, stratum="world")
    refused = Refused(USAGE, (("world", "generated"),))
    yield Case(
        AREA, "a world where there is none", (*SET, "--world", "slip_rate=0.1"), refused, stratum="world"
    )


def world_value(name: str) -> Callable[[list[Any]], Check]:
    """Makes a check that the session's world has one of these values."""

    def taken(good: list[Any]) -> Check:
        def check(done: Done) -> str:
            value = getattr(done.session.spec.training.world, name)
            return "" if same_as_any(value, good) else f"expected {good[0]!r:.40}, got {value!r:.40}"

        return check

    return taken


KEYS = (
    "", "=", "=1", "epochs", "epochs ", "train.epochs", "epochs:3", "train=1", "train.=1", ".epochs=1", "lora=1",
    "train..epochs=1", "train.epochs.x=1", "Train.epochs=1", "EPOCHS=1", "epoch=1", "epohcs=1", "train epochs=1",
    "method=1", "method.=1", "method.nothing=1", "nothing=1", "eval.epochs=1", "enabled.lora=1", "__class__=1",
    "train.__class__=1", "model_config=1", "train.model_config=1", "model_fields=1", "train.model_fields_set=1",
    "épochs=1", "\u200bepochs=1", "epochs\u200b=1", "\x1b[31mepochs=1", "epochs\n=1x", "--epochs=1", "-=1", "*=1",
    "train.epochs train.accumulation=1", "train.epochs,train.accumulation=1", "[epochs]=1", "a" * 50_000 + "=1",
    "train/epochs=1", "train:epochs=1", "settings.train.epochs=1", "0=1", "None=1", "null=1", "\U0001f600=1",
)  # fmt: skip
"""Texts that name no setting (or no value)."""


def key_cases() -> Iterator[Case]:
    """Names of settings: wrong ones, short ones, several at once."""
    for text in KEYS:
        refused = Refused(USAGE, ("--set",))
        yield Case(AREA, f"key {text[:40]!r}", (*SET, "--set", text), refused, stratum="keys")
    both = Refused(USAGE, ("epohcs", "learning_rat"))
    words = (*SET, "--set", "epohcs=1", "--set", "learning_rat=2")
    yield Case(AREA, "two wrong keys, both told", words, both, stratum="keys")
    both = Refused(USAGE, ("epochs", "accumulation"))
    words = (*SET, "--set", "epochs=x", "--set", "accumulation=0")
    yield Case(AREA, "two wrong values, both told", words, both, stratum="keys")
    for text, section, field, value in (
        ("epochs=3", "train", "epochs", 3),
        (" epochs =3", "train", "epochs", 3),
        ("epochs= 3 ", "train", "epochs", 3),
        ("rank=5", "lora", "rank", 5),
        ("dropout=0.25", "lora", "dropout", 0.25),
        ("engine=harness", "eval", "engine", "harness"),
    ):
        taken = Accepted(values_in_keys(section, field)([value]))
        strict = Either(Refused(USAGE, ("--set",)), taken, "spaces may be refused")
        expected: Expected = strict if re.search(r"\s", text) else taken
        yield Case(AREA, f"short key {text!r}", (*SET, "--set", text), expected, stratum="keys")
    taken = Accepted(values_in_keys("train", "epochs")([4]))
    twice = Either(
        Refused(ANY, ("epochs",)), taken, "of two with one key the later counts, or both are refused"
    )
    yield Case(AREA, "a key twice", (*SET, "--set", "epochs=3", "--set", "epochs=4"), twice, stratum="keys")
