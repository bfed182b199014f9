"""Several runs at a time, in processes that share the store."""
