"""Tables from records alone: spec, rows, cells, comparisons, controls, notes.

`spec` is the data file, `build` the one way to a table. Every number that a report shows is a cell or a
comparison made here.
"""
