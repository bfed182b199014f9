"""Commands that only look: listings, cards, comparisons of runs, the doctor.

Nothing here trains or writes to the store.
"""
