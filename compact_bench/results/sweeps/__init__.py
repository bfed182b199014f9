"""Sweeps: tables at several values of one setting, and what they show."""
