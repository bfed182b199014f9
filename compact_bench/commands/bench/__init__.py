"""Benchmarks of the training step and of evaluation: contenders on the same work, in turn."""
