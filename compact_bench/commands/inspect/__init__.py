"""Commands that only look: listings, cards, comparisons of runs, the doctor."""
