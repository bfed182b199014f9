"""What is checked of questions before training: fields, truth, lengths, words, overlaps of splits.

Every fault of a file is reported at once, with row and field. A check may be added; one that is taken away,
or an order of questions that changes, moves results.
"""
