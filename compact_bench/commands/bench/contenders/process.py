"""Makes a contender's steps for another process: `python -m compact_bench.commands.bench.contenders.process`.

It reads one JSON object a line from standard input: first {"settings"}, then {"name", "contender", "work"}
to encode some work, or {"turn": name} to make a turn. It answers every line with one on standard output: {}
or a `Turn`, or {"error"}. It ends when standard input does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from compact_bench.commands.bench.contenders.contenders import choose_contenders
from compact_bench.commands.bench.contenders.memory import peak_during
from compact_bench.commands.bench.contenders.runners import Turn
from compact_bench.commands.bench.contenders.stepping import Prepared, Stepper, open_student
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import CompactBenchError


class _Answering:
    """The student of this process and the work that was encoded for it."""

    def __init__(self, settings: StepSettings) -> None:
        self._stepper = Stepper(open_student(settings), settings)
        self._prepared: dict[str, Prepared] = {}
        # Weights lie in a mapped file until they are read; they belong to what is loaded, not to a step.
        for parameter in self._stepper.student.model.parameters():
            parameter.detach().abs().max()

    def answer(self, asked: dict[str, Any]) -> str:
        """Do what one line asks."""
        if "turn" in asked:
            gpu = self._stepper.student.device.type == "cuda"
            prepared = self._prepared[asked["turn"]]
            step, memory = peak_during(lambda: self._stepper.turn(prepared), gpu=gpu)
            turn = Turn(seconds=step.seconds, loss=step.loss, memory=memory, path=step.path)
            return turn.model_dump_json()
        (contender,) = choose_contenders([asked["contender"]])
        self._prepared[asked["name"]] = self._stepper.prepare(contender, Work.from_data(asked["work"]))
        return "{}"


def main() -> None:
    """Answer until standard input ends."""
    # Ctrl-C reaches every process of a terminal; the one that asks decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not land between the answers.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answering: _Answering | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if answering is None:
                answering = _Answering(StepSettings.model_validate(asked["settings"]))
                answer = "{}"
            else:
                answer = answering.answer(asked)
        except CompactBenchError as error:
            answer = json.dumps({"error": str(error)})
        output.write(answer + "\n")
        output.flush()


if __name__ == "__main__":
    main()
