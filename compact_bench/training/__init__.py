"""Training: branches as tokens, objectives, the one optimisation loop, checkpoints and final weights.

A method brings an objective; the loop owns everything else. `loss` turns a batch into numbers with gradients.
Order of operations here decides the last bits of every result.
"""
