"""What is to run: keys with every setting resolved, and what the store has of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.files import say_made_again
from compact_bench.core.records import RESULTS_VERSION, RunKey, RunRecord
from compact_bench.core.settings import RunSettings, describe_validation_error, merged
from compact_bench.methods.code import method_code
from compact_bench.methods.contract import requiring_fields
from compact_bench.methods.registry import get_method, method_sources, split_name, variant_config
from compact_bench.runs.required import of_another, unreadable
from compact_bench.runs.session import Session
from compact_bench.runs.store.again import ask_again, asked_at

State = Literal["done", "untrained", "unsupported", "missing", "failed", "again"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        title: what it is, for the plan's display.
        record: what the store has of it, or None.
        retried: whether it runs again when it failed the last time.
        again: whether it runs again although it is done.
    """

    key: RunKey
    title: str
    record: RunRecord | None = None
    retried: bool = True
    again: bool = False

    @property
    def state(self) -> State:
        """What is known of it."""
        if self.again:
            return "again"
        return "missing" if self.record is None else self.record.status

    @property
    def needed(self) -> bool:
        """Whether it must run: it is missing, is to run again, or failed the last time and is tried again."""
        return self.state in ("missing", "again") or (self.state == "failed" and self.retried)


@dataclass(frozen=True)
class PlanSection:
    """The runs of one suite under one set of settings.

    Attributes:
        session: what they share.
        runs: in the order in which they execute.
        title: what distinguishes this section from the others of a plan; "" where there is one only.
    """

    session: Session
    runs: Sequence[PlannedRun]
    title: str = ""


def run_again(sections: Sequence[PlanSection], *, dry_run: bool = False) -> list[PlanSection]:
    """Sections with what is done to be made anew; where an earlier command was asked that and did not finish,
    only what it left.

    Args:
        dry_run: whether nothing is written; else the runs' folders say that they are to be made anew.
    """
    folders = {
        run.key.hash: section.session.store.run_dir(run.key)
        for section in sections
        for run in section.runs
        if run.state in ("done", "untrained", "unsupported")
    }
    chosen = {name for name, folder in folders.items() if asked_at(folder) is not None}
    if not chosen:
        chosen = set(folders)
        for name in () if dry_run else chosen:
            ask_again(folders[name])
    return [
        replace(section, runs=[replace(run, again=run.key.hash in chosen) for run in section.runs])
        for section in sections
    ]


def ask_where_again(section: PlanSection) -> None:
    """Ask for runs that are done and are to be made anew, where nobody has yet."""
    for run in section.runs:
        folder = section.session.store.run_dir(run.key)
        if run.again and asked_at(folder) is None:
            ask_again(folder)


def run_key(
    session: Session,
    method: str,
    variant: str,
    seed: int,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    epochs_factor: int = 1,
) -> RunKey:
    """The key of one run, with every setting resolved and the method's own ones complete.

    A later source overrides an earlier one: what the suite gives the method, the profile, the user, the row.

    Args:
        session: suite, student, profile and the user's settings.
        variant: what distinguishes runs of one method, or "".
        changes: nested settings that make a table row.
        epochs_factor: how many times the epochs are trained (K for equal tokens).

    Raises:
        ConfigError: the method is unknown or refuses its configuration, a setting is wrong, or a file that
            one names cannot be read.
    """
    settings = merged(session.settings, changes or {}, "table row")
    if epochs_factor != 1:
        train = settings.train.model_copy(update={"epochs": settings.train.epochs * epochs_factor})
        settings = settings.model_copy(update={"train": train})
    config_type = get_method(method).config_type
    for name in (changes or {}).get("method", {}):
        # A misspelt one would leave the row as the method is, under a title that says otherwise.
        if name not in config_type.model_fields:
            raise UnknownNameError(
                f"setting of method {method!r} in a table row", name, config_type.model_fields
            )
    return _key(session, (method, variant), seed, session.request.profile, settings)


def _key(
    session: Session,
    named: tuple[str, str],
    seed: int,
    profile: str,
    settings: RunSettings,
    above: tuple[tuple[str, str], ...] = (),
) -> RunKey:
    """The key of a method and variant under settings of which those of other methods are left out.

    Args:
        above: methods and variants whose runs require this one.
    """
    method, variant = named
    config_type = get_method(method).config_type
    given = {name: value for name, value in settings.method.items() if name in config_type.model_fields}
    try:
        config = config_type.model_validate({**session.spec.method_settings.get(method, {}), **given})
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, f"settings of method {method}")) from None
    complete = settings.model_copy(update={"method": config.model_dump(mode="json")})
    key = RunKey(
        method=method,
        variant=variant,
        student=session.student_key_name,
        student_revision=session.student_revision,
        suite=session.spec.key_name,
        suite_fingerprint=session.suite_fingerprint,
        profile=profile,
        seed=seed,
        settings=complete.model_dump(mode="json"),
        results_version=RESULTS_VERSION,
        code=method_code(method_sources()[method], config),
    )
    return with_required(session, key, above)


def with_required(session: Session, key: RunKey, above: tuple[tuple[str, str], ...] = ()) -> RunKey:
    """The key with the hashes of the runs that its settings name, as they are under its rate and profile.

    Raises:
        ConfigError: see `required_keys`.
    """
    hashes = {field: required.hash for field, required in required_keys(session, key, above).items()}
    return replace(key, requires=hashes)


def required_keys(
    session: Session, key: RunKey, above: tuple[tuple[str, str], ...] = ()
) -> dict[str, RunKey]:
    """Field of a run's settings -> key of the run that it names, the same but for the method's settings.

    The method's settings are the user's, the suite's and its variant's, as for a row of its own.

    Raises:
        ConfigError: a method or variant is unknown, is not trained, or requires, at last, itself.
    """
    found: dict[str, RunKey] = {}
    above = (*above, (key.method, key.variant))
    for field in requiring_fields(get_method(key.method).config_type):
        text = str(key.settings["method"][field])
        place = f"method {key.method}, setting {field}"
        named = split_name(text)
        values = variant_config(*named)
        if get_method(named[0]).card.min_teachers == 0:
            raise ConfigError(f"{place}: expected a method that trains, got {text!r}, which does not.")
        if named in above:
            raise ConfigError(f"{place}: expected a method that can be run before it, got {text!r}.")
        settings = RunSettings.model_validate(
            {**key.settings, "method": {**session.settings.method, **values}}
        )
        found[field] = _key(session, named, key.seed, key.profile, settings, above)
    return found


def required_first(section: PlanSection) -> PlanSection:
    """The section with what its runs require: in the order of need, and with what the store lacks of it.

    A run that is done is made again where a run that it was made from was since; and so is one that another
    needs, where what it left is damaged.
    """
    session, store = section.session, section.session.store
    if not any(run.key.requires for run in section.runs):
        return section
    listed = {run.key.hash: run for run in section.runs}
    ordered: dict[str, PlannedRun] = {}

    def place(run: PlannedRun) -> None:
        if run.key.hash in ordered:
            return
        if run.record is not None and not run.needed and of_another(run.record, store):
            run = replace(run, again=True)
        for key in required_keys(session, run.key).values() if run.needed and run.key.requires else ():
            title = f"{key.label}, for {run.title}"
            required = listed.get(key.hash) or PlannedRun(key, title, store.load(key))
            if required.record is not None and (damage := unreadable(required.record, store)):
                say_made_again(damage)
                required = replace(required, again=True)
                ordered.pop(key.hash, None)
            if required.needed or key.hash in listed:
                place(required)
        ordered[run.key.hash] = run

    for run in section.runs:
        place(run)
    return replace(section, runs=list(ordered.values()))
