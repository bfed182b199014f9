"""COMPACT: the paper's objective (Eq. 2-11), the released code's variant, the scores, and `explain`.

`method` registers it, `objective` is the paper, `released` the authors' code, `scores` are pure functions
of tensors. Neither variant is ever tuned after looking at test items.
"""
