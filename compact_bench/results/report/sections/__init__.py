"""Sections of RESULTS.md: what the data support, truth, teachers, tuning, provenance."""
