"""The statistics of a table as pure functions over arrays; see docs/statistics.md.

`samples` is what they work on; `contrasts` the one model behind intervals and p values; `verdicts` and
`families` what may be said; `power` what could have been detected; `bootstrap` the intervals of single
cells; `structure` and `calibration` check all of it.
"""
