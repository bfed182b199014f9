"""How generations and choices are computed: the fast engine, the plain harness, or vLLM."""
