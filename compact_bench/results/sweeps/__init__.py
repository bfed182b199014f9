"""Sweeps: tables at several values of one setting, and what they show.

`spec` is the data file, `results` puts the tables side by side; statistics are those of `results.tables`.
"""
