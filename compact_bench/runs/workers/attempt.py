"""One attempt at a run: hold its lock, see whether it is made already, execute it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from compact_bench.core.errors import RunHeldError
from compact_bench.core.progress import Ticker
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.run import execute_run
from compact_bench.runs.session import Session
from compact_bench.runs.store.again import asked_at, discard, settle


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended.

    Attributes:
        executed: False where another command had made the record meanwhile.
    """

    record: RunRecord
    executed: bool


def attempt(
    session: Session,
    key: RunKey,
    began: float,
    ticker: Ticker,
    on_start: Callable[[], None],
    *,
    again: bool = False,
) -> Attempt | None:
    """Execute a run, or take what another command made of it.

    Args:
        began: when this command began, in seconds since the epoch; an older failure is tried again.
        on_start: called when the run is about to execute here.
        again: whether a run that is done is made anew, unless another command has answered that by now.

    Returns:
        None while another process holds the run.

    Raises:
        CompactBenchError: what every run needs (data, student, a store that can be written) is not there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(session.store.lock(key))
        except RunHeldError:
            return None
        run, made = session.store.run_dir(key), session.store.load(key)
        asked = again and made is not None and asked_at(run) is not None
        if made is not None and not asked:
            settle(run)
            fresh = float(made.provenance.get("finished", 0.0)) >= began
            if made.status == "done" or again or fresh:
                return Attempt(made, executed=False)
        if not asked:
            discard(run)
        on_start()
        return Attempt(execute_run(session, key, ticker, again=asked), executed=True)


def run_title(key: RunKey) -> str:
    """A run's name in progress lines ("compact seed 1")."""
    return f"{key.label} seed {key.seed}"
