"""Sections of RESULTS.md: what the data support, truth, teachers, tuning, provenance.

A section gets tables and records and returns lines; it computes no statistics of its own.
"""
