"""Read-only measurements, a file each: drift, weight change, answer nats, truth; `registry` names them.

Retention compares two evaluations of one student; what the others share is `steps_table` and `neutral_text`.
"""
