"""The store: one folder a run, records that are whole or absent, locks, and what can be freed.

Only `store` writes here. The names and bytes of files are a format that older and newer versions read.
"""
