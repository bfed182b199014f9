"""`python -m tests.attack`: run the attack, print what became of it, and write it down."""

from __future__ import annotations

from tests.attack.running import main

if __name__ == "__main__":
    main()
