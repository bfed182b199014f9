"""Accuracy through lm-evaluation-harness: task files, the bridge, and the cache of finished evaluations.

`bridge.evaluate` is the way in; `answers` says how answers are read, `probes` measures everything else.
"""
