"""How generations and choices are computed: the fast engine, the plain harness, or vLLM.

`choosing` says which engine serves a task and why; the others agree with the plain harness to rounding,
which tests hold. An engine's name is part of a cached evaluation's key.
"""
