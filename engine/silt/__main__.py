"""`python -m silt` is `silt`."""

from __future__ import annotations

from silt.cli import main

if __name__ == "__main__":
    main()
