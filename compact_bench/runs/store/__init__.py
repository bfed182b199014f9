"""The store: one folder a run, records that are whole or absent, locks, and what can be freed."""
