"""Reports of benchmarks, from recorded measurements.

Nothing here measures; the JSON beside a report holds everything it says.
"""
