"""The lab's student: its tokenizer, how it is pretrained, and the weights that this package ships.

`weights/` was made by `pretraining` and is never edited by hand; `lab build` makes it anew.
"""
