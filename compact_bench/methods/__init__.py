"""Methods: the registry that finds them, COMPACT itself, the contract suite and the files of a new one.

Every method but COMPACT is a file in `baselines/` or in a package of its own; nothing here names one of them.
"""
