"""Consensus: how much the other rationales attend to one, on the complete graph of a question's branches."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import torch
from jaxtyping import Float
from torch import Tensor


def consensus_attention(
    queries: Float[Tensor, "branches heads head_dim"], keys: Float[Tensor, "branches kv_heads head_dim"]
) -> Float[Tensor, "branches branches"]:
    """A: softmax over all branches of Q_i . K_j / sqrt(width of Q), the diagonal then set to zero.

    Each key head is repeated for its group of query heads.

    Args:
        queries: Float[Tensor, "branches heads head_dim"].
        keys: Float[Tensor, "branches kv_heads head_dim"].

    Returns:
        Float[Tensor, "branches branches"]; rows attend, columns are attended to.

    Source: Eq. 4. The scale and the repetition are this project's reading; the paper's d is not defined.
    """
    group = queries.shape[1] // keys.shape[1]
    return _attention(queries.flatten(1), keys.repeat_interleave(group, dim=1).flatten(1))


def released_consensus_attention(
    queries: Float[Tensor, "branches heads head_dim"], keys: Float[Tensor, "branches kv_heads head_dim"]
) -> Float[Tensor, "branches branches"]:
    """A as the released code computes it: single numbers of the flat key are repeated, not heads.

    The two vectors are misaligned for grouped keys; that is kept, since this reproduces the code.

    Args:
        queries: Float[Tensor, "branches heads head_dim"].
        keys: Float[Tensor, "branches kv_heads head_dim"].

    Returns:
        Float[Tensor, "branches branches"].
    """
    flat = keys.flatten(1)
    group = queries.shape[1] // keys.shape[1]
    return _attention(queries.flatten(1), flat.repeat_interleave(group, dim=-1))


def _attention(flat_q: Tensor, flat_k: Tensor) -> Tensor:
    logits = flat_q @ flat_k.transpose(0, 1) * flat_q.shape[-1] ** -0.5
    weights = torch.softmax(logits, dim=-1)
    diagonal = torch.eye(weights.shape[0], dtype=torch.bool, device=weights.device)
    return weights.masked_fill(diagonal, 0.0)


def consensus(attention: Float[Tensor, "branches branches"]) -> Float[Tensor, "branches"]:
    """S_cons,k: weighted in-degree, the sum of column k.

    Args:
        attention: Float[Tensor, "branches branches"], zero diagonal.

    Returns:
        Float[Tensor, "branches"].

    Source: Eq. 5.
    """
    return attention.sum(dim=0)


def consensus_graph(attention: Float[Tensor, "branches branches"], teachers: Sequence[str]) -> nx.DiGraph:
    """The same attention as a networkx graph, for analysis and export; never on the training path.

    Args:
        attention: Float[Tensor, "branches branches"], zero diagonal.
        teachers: a unique name per branch.

    Returns:
        Complete directed graph; edge (i, j) has `weight` A_ij.
    """
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(teachers)
    values = attention.detach().cpu().tolist()
    for i, source in enumerate(teachers):
        for j, target in enumerate(teachers):
            if i != j:
                graph.add_edge(source, target, weight=float(values[i][j]))
    return graph


def centralities(graph: nx.DiGraph) -> dict[str, dict[str, float]]:
    """Centralities of a consensus graph.

    Args:
        graph: what `consensus_graph` returns.

    Returns:
        Teacher -> {"in_degree" (the consensus score), "out_degree", "pagerank"}.
    """
    rank = nx.pagerank(graph, weight="weight") if graph.number_of_edges() else dict.fromkeys(graph, 1.0)
    inward, outward = dict(graph.in_degree(weight="weight")), dict(graph.out_degree(weight="weight"))
    return {
        name: {
            "in_degree": float(inward[name]),
            "out_degree": float(outward[name]),
            "pagerank": float(rank[name]),
        }
        for name in graph
    }
