"""What a benchmark measures: work, operations, memory, the machine's ceiling."""
