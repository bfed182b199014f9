"""COMPACT: the paper's objective (Eq. 2-11), the released code's variant, the scores, and `explain`."""
