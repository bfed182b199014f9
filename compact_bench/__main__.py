"""`python -m compact_bench` is the same as `compact-bench`."""

from __future__ import annotations

from compact_bench.cli import main

if __name__ == "__main__":
    main()
