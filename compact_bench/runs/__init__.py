"""Runs: what one command shares (`session`), what is to run (`plan`), from key to record, store, workers.

`store` writes records atomically and is the only place that does; a run's key decides what is run again.
"""
