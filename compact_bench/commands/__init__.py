"""What commands do once their options are read: plan, run, write, list, compare, export, benchmark.

`reproduce` is the main job. Options and help texts are in `cli`.
"""
