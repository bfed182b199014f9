"""Task definitions of the evaluation harness, as data: a YAML file a benchmark.

A changed prompt or metric is another benchmark: its bytes are part of a cached evaluation's key.
"""
