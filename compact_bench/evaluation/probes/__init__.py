"""Read-only measurements: drift, weight change, answer nats, retention, where the weights went."""

from __future__ import annotations

from compact_bench.evaluation.probes.answer_nats import AnswerNats, answer_nats
from compact_bench.evaluation.probes.drift import DriftResult, drift_nats_per_token
from compact_bench.evaluation.probes.neutral_text import neutral_passages
from compact_bench.evaluation.probes.retention import RetentionChange, mean_change, retention
from compact_bench.evaluation.probes.truth import TruthScores, truth_scores
from compact_bench.evaluation.probes.weight_change import weight_change

__all__ = [
    "AnswerNats",
    "DriftResult",
    "RetentionChange",
    "TruthScores",
    "answer_nats",
    "drift_nats_per_token",
    "mean_change",
    "neutral_passages",
    "retention",
    "truth_scores",
    "weight_change",
]
