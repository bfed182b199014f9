"""What a benchmark measures: operations, memory needed, the machine's ceiling, spreads and fits.

A measurement keeps its samples; medians and ratios are computed from them.
"""
