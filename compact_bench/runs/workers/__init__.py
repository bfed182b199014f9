"""Several runs at a time, in processes that share the store.

`launch` starts them, `queue` says what is next, `attempt` is one try at one run. Results do not depend on
the number of workers; a worker that dies costs its run only a new start.
"""
