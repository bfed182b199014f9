"""Read-only measurements, a file each: drift, weight change, answer nats, truth; `registry` names them."""
