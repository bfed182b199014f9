"""What a benchmark compares: contenders, each step written plainly or fast, run in turn."""
