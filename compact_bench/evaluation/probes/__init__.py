"""Read-only measurements, a file each: drift, weight change, answer nats, truth; `registry` names them.

A probe never changes a student. A new one is a file and an entry; a changed one moves numbers of old tables.
"""
