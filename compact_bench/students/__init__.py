"""Students: how they are loaded, identified, adapted, merged and saved, and what computes their layers.

`student` loads and fingerprints, `chat` writes prompts, `layout` knows architectures, `compute` holds the
fast step. Whatever reads a student's modules by name does it in `layout`.
"""
