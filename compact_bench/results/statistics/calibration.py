"""The rule held against tables of equal methods, simulated with a store's own variances.

Right and wrong answers come from a threshold: an item is right where the sum of a seed's effect (common to
the tasks of one student), an item's (common to all rows), an item's for this row, and chance lies below what
gives the task's accuracy. The effects' sizes are those that give the store's variances and correlations of
accuracies; each row keeps its own. Every table then goes through `contrasts`, `families` and `verdicts` as a
real one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from compact_bench.results.statistics.contrasts import (
    Contrast,
    infer,
    unseen_difference,
    variance_parts,
)
from compact_bench.results.statistics.families import corrected_p_values
from compact_bench.results.statistics.samples import Floats
from compact_bench.results.statistics.structure import Structure, latent_correlation
from compact_bench.results.statistics.verdicts import verdict

SEED = 20261130
BATCH = 40
LEAST_REST = 0.02
"""Share of the latent variance that is left to chance, however much seeds and items vary."""


@dataclass(frozen=True)
class Rate:
    """How often something happened, with the upper end of its one-sided 95 % interval (Clopper-Pearson).

    Attributes:
        count: may be a fraction where a table holds several comparisons: they share its students, so that
            the limit takes a whole table for one trial.
    """

    count: float
    trials: int

    @property
    def share(self) -> float:
        """Count over trials."""
        return self.count / self.trials

    @property
    def upper(self) -> float:
        """Upper 95 % limit."""
        from scipy.stats import beta

        left = self.trials - self.count
        return 1.0 if left <= 0 else float(beta.ppf(0.95, self.count + 1, left))


@dataclass(frozen=True)
class Plan:
    """Which comparisons a simulated table has; every row is compared with the first.

    Attributes:
        primary: places of the rows whose comparisons with the first are primary.
        primary_groups: names of the groups on which they are.
        margin: of equivalence.
        difference: the true difference whose power is told.
    """

    primary: tuple[int, ...]
    primary_groups: tuple[str, ...]
    margin: float
    difference: float


@dataclass
class Calibration:
    """What the rule says of so many simulated tables; counts of verdicts.

    Attributes:
        false_verdicts: group -> "above" or "below" of equal methods by the uncorrected p, in comparisons.
        comparisons: per group and table.
        false_primary: tables with a false verdict in the primary family.
        false_exploratory: exploratory comparisons with a false verdict after their correction.
        false_equivalent: group -> "equivalent" where the true difference is the margin, in comparisons.
        can_be_equivalent: group -> comparisons of equal methods whose interval fits into the margin.
        found: group -> "above" by the uncorrected p where the true difference is the plan's.
        shifted: comparisons per group and table with a true difference.
    """

    seeds: int
    tables: int
    comparisons: int
    shifted: int
    false_verdicts: dict[str, int] = field(default_factory=dict)
    false_primary: int = 0
    false_exploratory: int = 0
    false_equivalent: dict[str, int] = field(default_factory=dict)
    can_be_equivalent: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    def rate(self, counts: Mapping[str, int], per_table: int, group: str = "") -> Rate:
        """Share of comparisons, of one group or of all; see `Rate` for its limit."""
        counted = [counts[group]] if group else list(counts.values())
        return Rate(sum(counted) / (len(counted) * per_table), self.tables)


def calibrate(structure: Structure, plan: Plan, seeds: int, tables: int) -> Calibration:
    """Simulate tables of equal methods and count what is said of them; the same call gives the same counts.

    Args:
        seeds: of every row, at least 2.
        tables: how many; 10,000 tell 5 % within half a point.
    """
    rows = len(structure.rows)
    done = Calibration(seeds, tables, rows - 1, len(plan.primary) or rows - 1)
    for counts in (done.false_verdicts, done.false_equivalent, done.can_be_equivalent, done.found):
        counts |= dict.fromkeys(structure.groups, 0)
    others = plan.primary or tuple(range(1, rows))
    generator = np.random.default_rng(SEED)
    model = _Model.of(structure, (0.0, plan.margin, plan.difference))
    for start in range(0, tables, BATCH):
        size = min(BATCH, tables - start)
        equal: dict[str, list[list[Contrast]]] = {}
        at_margin: dict[str, list[list[Contrast]]] = {}
        apart: dict[str, list[list[Contrast]]] = {}
        for group, answers in model.draw(generator, size, seeds):
            equal[group] = _contrasts(answers, 0, range(1, rows))
            at_margin[group] = _contrasts(answers, rows, others)
            apart[group] = _contrasts(answers, rows + 1, others)
        _count(done, plan, equal, at_margin, apart)
    return done


@dataclass(frozen=True)
class _Model:
    """Latent sizes of all effects, and the thresholds of the tasks under every shift.

    Attributes:
        thresholds: shift -> [tasks].
        seed_sd, own_item_sd, rest_sd: [rows, tasks].
        item_sd: [tasks].
        root: of the seeds' correlation, [tasks, tasks].
    """

    structure: Structure
    thresholds: tuple[Floats, ...]
    seed_sd: Floats
    item_sd: Floats
    own_item_sd: Floats
    rest_sd: Floats
    root: Floats

    @classmethod
    def of(cls, structure: Structure, shifts: Sequence[float]) -> _Model:
        means = np.clip(structure.means, 1e-3, 1 - 1e-3)
        base = ndtri(means)
        seed = latent_correlation(structure.seed_variance, base)
        item = latent_correlation(structure.item_variance, base)
        shared = latent_correlation(structure.shared_item_variance[None], base)[0]
        shared = np.minimum(shared, item.mean(axis=0))
        own = np.clip(item - shared, 0.0, None)
        total = seed + shared + own
        scale = np.minimum(1.0, (1 - LEAST_REST) / np.maximum(total, 1e-9))
        # What all rows share has one size; where it must shrink, it does in all of them.
        shared = shared * scale.min(axis=0)
        seed, own = seed * scale, own * scale
        thresholds = [base]
        for shift in shifts[1:]:
            moved = base.copy()
            for places in structure.groups.values():
                moved[list(places)] = _moved(base[list(places)], shift)
            thresholds.append(moved)
        rest = np.sqrt(np.clip(1.0 - seed - shared - own, LEAST_REST / 2, None))
        sizes = (np.sqrt(seed), np.sqrt(shared), np.sqrt(own), rest)
        root: Floats = np.linalg.cholesky(structure.correlation).astype(np.float64)
        return cls(structure, tuple(thresholds), *sizes, root=root)

    def draw(
        self, generator: np.random.Generator, tables: int, seeds: int
    ) -> Iterator[tuple[str, list[Floats]]]:
        """Group by group, its tasks' right answers, [tables, rows + shifted firsts, seeds, items]."""
        rows = len(self.structure.rows)
        effects = generator.standard_normal((tables, rows, seeds, len(self.structure.tasks)))
        effects = (effects @ self.root.T) * self.seed_sd[:, None, :]
        for group, places in self.structure.groups.items():
            answers = []
            for task in places:
                items = self.structure.items[task]
                level = generator.standard_normal((tables, rows, seeds, items), dtype=np.float32)
                level *= self.rest_sd[:, task, None, None].astype(np.float32)
                of_items = self.item_sd[task] * generator.standard_normal((tables, 1, 1, items))
                own = self.own_item_sd[:, task, None, None]
                of_items = of_items + own * generator.standard_normal((tables, rows, 1, items))
                level += of_items.astype(np.float32)
                level += effects[..., task, None].astype(np.float32)
                drawn = [level < self.thresholds[0][task]]
                drawn += [level[:, :1] < moved[task] for moved in self.thresholds[1:]]
                answers.append(np.concatenate(drawn, axis=1).astype(np.float64))
            yield group, answers


def _moved(base: Floats, shift: float) -> Floats:
    """Thresholds of tasks whose mean accuracy differs by `shift`, towards where there is room."""
    mean = float(ndtr(base).mean())
    target = mean + shift if mean + shift < 0.98 else mean - shift
    return np.asarray(base + brentq(lambda x: float(ndtr(base + x).mean()) - target, -10.0, 10.0))


def _contrasts(answers: Sequence[Floats], first: int, others: Sequence[int]) -> list[list[Contrast]]:
    """Row `first` minus each of the others, table by table."""
    seeds = answers[0].shape[2]
    parts = variance_parts([x[:, [first]] - x[:, list(others)] for x in answers])
    found = infer(parts)
    items = [x.shape[-1] for x in answers]
    unseen = unseen_difference(items)
    names = ("standard_error", "df", "low", "high", "low_90", "high_90", "p_value")
    columns = [parts.estimate, *(getattr(found, name) for name in names)]
    numbers = np.stack(columns, axis=-1).tolist()

    def one(values: Sequence[float]) -> Contrast:
        named = dict(zip(("estimate", *names), values, strict=True))
        return Contrast(**named, seeds=seeds, items=sum(items), unseen=unseen)

    return [list(map(one, of_table)) for of_table in numbers]


def _is_said(found: Contrast, p_value: float, margin: float) -> bool:
    return verdict(found, p_value, margin) in ("above", "below")


def _count(
    done: Calibration,
    plan: Plan,
    equal: Mapping[str, list[list[Contrast]]],
    at_margin: Mapping[str, list[list[Contrast]]],
    apart: Mapping[str, list[list[Contrast]]],
) -> None:
    margin = plan.margin
    for group in equal:
        every = [one for table in equal[group] for one in table]
        done.false_verdicts[group] += sum(_is_said(one, one.p_value, margin) for one in every)
        done.can_be_equivalent[group] += sum(one.can_show_equivalence(margin) for one in every)
        moved = [one for table in at_margin[group] for one in table]
        done.false_equivalent[group] += sum(one.is_equivalent(margin) for one in moved)
        moved = [one for table in apart[group] for one in table]
        done.found[group] += sum(_is_said(one, one.p_value, margin) for one in moved)
    for table in range(len(next(iter(equal.values())))):
        primary: list[Contrast] = []
        rest: list[Contrast] = []
        for group, found in equal.items():
            for place, one in enumerate(found[table], 1):
                is_primary = place in plan.primary and group in plan.primary_groups
                (primary if is_primary else rest).append(one)
        of_family = corrected_p_values([one.p_value for one in primary], "Holm")
        said = [_is_said(one, p, margin) for one, p in zip(primary, of_family, strict=True)]
        done.false_primary += any(said)
        of_family = corrected_p_values([one.p_value for one in rest], "Benjamini-Hochberg")
        done.false_exploratory += sum(
            _is_said(one, p, margin) for one, p in zip(rest, of_family, strict=True)
        )
