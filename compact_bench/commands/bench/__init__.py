"""Benchmarks of the training step and of evaluation: contenders on the same work, in turn.

`contenders` are compared, `measuring` measures them, `step`, `scaling` and `evaluation` are the benchmarks,
`reports` writes them. A speed is only ever a ratio measured in one run.
"""
