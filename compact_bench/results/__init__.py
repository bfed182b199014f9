"""From records to what people read: statistics, tables, sweeps, claims, and the reports that show them.

Nothing here trains or evaluates. A number is computed once, in `tables` or `statistics`; reports only
write it.
"""
