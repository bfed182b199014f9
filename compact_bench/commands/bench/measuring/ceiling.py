"""How fast this machine multiplies matrices: the ceiling that a step's speed is measured against."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from compact_bench.commands.bench.measuring.flops import linear_shapes
from compact_bench.students.student import Student

SQUARE = {"cpu": 2048, "cuda": 8192}
"""Side of the square product, large enough that its speed no longer grows with it."""
LEAST_SECONDS = 0.15


class Ceiling:
    """Measures two rates: of one large square product, and of products of the student's own shapes.

    Args:
        student: gives shapes, type and device.
        tokens: rows of the products with the student's shapes: positions of a packed step.
        head_positions: rows of the product with the output head.
        side: of the square product; None for the device's own.
    """

    def __init__(self, student: Student, tokens: int, head_positions: int, side: int | None = None) -> None:
        self._device = student.device
        self._dtype = torch.bfloat16 if student.compute == "bfloat16" else student.dtype
        self._side = side or SQUARE["cuda" if self._device.type == "cuda" else "cpu"]
        head = student.layout.head(student.model).weight.shape
        self._products = [(tokens, *shape, count) for shape, count in linear_shapes(student).items()]
        self._products.append((head_positions, int(head[0]), int(head[1]), 1))

    def square(self) -> float:
        """Operations per second of the square product."""
        side = self._side
        return 2 * side**3 / self._seconds(side, side, side)

    def shapes(self) -> float:
        """Operations per second of one forward pass's products, with their weights as they are."""
        work = sum(2 * rows * out * into * count for rows, out, into, count in self._products)
        return work / sum(count * self._seconds(rows, out, into) for rows, out, into, count in self._products)

    def _seconds(self, rows: int, out: int, into: int) -> float:
        """Time of x @ w.T, the mean over as many as fill a moment; the first is not counted."""
        x = torch.randn(rows, into, dtype=self._dtype, device=self._device)
        w = torch.randn(out, into, dtype=self._dtype, device=self._device)
        place = torch.empty(rows, out, dtype=self._dtype, device=self._device)
        with torch.no_grad():
            return _mean_seconds(lambda: torch.matmul(x, w.T, out=place), self._wait)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _mean_seconds(act: Callable[[], object], wait: Callable[[], None]) -> float:
    act()
    wait()
    count = 1
    while True:
        started = time.perf_counter()
        for _ in range(count):
            act()
        # A GPU is only waited for at the end, so the count is settled before a round begins.
        wait()
        seconds = time.perf_counter() - started
        if seconds >= LEAST_SECONDS:
            return seconds / count
        count *= 2
