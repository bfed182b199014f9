"""Makes a contender's steps for another process: `python -m compact_bench.commands.bench.contenders.process`.

It reads one JSON object a line from standard input: first {"settings"}, then {"name", "contender", "work"}
to encode some work, or {"turn": name} to make a turn. It answers every line with one on standard output: {}
or a `Turn`, or {"error"}. It ends when standard input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from compact_bench.commands.bench.contenders.contenders import choose_contenders
from compact_bench.commands.bench.contenders.memory import peak_during
from compact_bench.commands.bench.contenders.runners import Turn
from compact_bench.commands.bench.contenders.stepping import Prepared, Stepper, open_student
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import CompactBenchError
from compact_bench.core.processes import claim_output


class _Contenders:
    """The student of this process and the work that was encoded for it."""

    def __init__(self, settings: StepSettings) -> None:
        self._stepper = Stepper(open_student(settings), settings)
        self._prepared: dict[str, Prepared] = {}
        # Weights lie in a mapped file until they are read; they belong to what is loaded, not to a step.
        for parameter in self._stepper.student.model.parameters():
            parameter.detach().abs().max()

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what one message asks."""
        if "turn" in message:
            gpu = self._stepper.student.device.type == "cuda"
            prepared = self._prepared[message["turn"]]
            step, memory = peak_during(lambda: self._stepper.turn(prepared), gpu=gpu)
            turn = Turn(seconds=step.seconds, loss=step.loss, memory=memory, path=step.path)
            return turn.model_dump(mode="json")
        (contender,) = choose_contenders([message["contender"]])
        self._prepared[message["name"]] = self._stepper.prepare(contender, Work.from_data(message["work"]))
        return {}


def main() -> None:
    """Answer until standard input ends."""
    send = claim_output()
    contenders: _Contenders | None = None
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if contenders is None:
                contenders = _Contenders(StepSettings.model_validate(message["settings"]))
            else:
                answer = contenders.answer(message)
        except CompactBenchError as error:
            answer = {"error": str(error)}
        send(answer)


if __name__ == "__main__":
    main()
