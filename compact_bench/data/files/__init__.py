"""Where data come from and how they are read: downloads by commit and sha256, formats of files.

`sources` fetches, `readers` and `upstream` read rationales, `benchmarks` reads benchmark items. Nothing
here judges a question; a new format is one function. Hashes and ids made here name stored results: change
them with care.
"""
