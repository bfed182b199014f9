"""The three scores of COMPACT and their fusion, as pure functions of tensors."""

from compact_bench.methods.compact.scores.adaptability import (
    PAPER_THINKING_WORDS,
    THINKING_WORDS,
    adaptability,
    gold_mean_logit,
    information_gain,
    thinking_token_ids,
    token_mask,
)
from compact_bench.methods.compact.scores.consensus import (
    centralities,
    consensus,
    consensus_attention,
    consensus_graph,
    released_consensus_attention,
)
from compact_bench.methods.compact.scores.difficulty import difficulty
from compact_bench.methods.compact.scores.fusion import compatibility_scores, teacher_weights, z_score

__all__ = [
    "PAPER_THINKING_WORDS",
    "THINKING_WORDS",
    "adaptability",
    "centralities",
    "compatibility_scores",
    "consensus",
    "consensus_attention",
    "consensus_graph",
    "difficulty",
    "gold_mean_logit",
    "information_gain",
    "released_consensus_attention",
    "teacher_weights",
    "thinking_token_ids",
    "token_mask",
    "z_score",
]
