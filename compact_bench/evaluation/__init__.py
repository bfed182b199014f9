"""Accuracy through lm-evaluation-harness: task files, the bridge, and the cache of finished evaluations.

`bridge.evaluate` is the way in; `answer_formats` says how answers are read, `probes` measures the rest.
"""
