#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["siltlake"]
#
# [tool.uv.sources]
# siltlake = { path = ".." }
# ///
"""silt in one file, for machines that have uv and nothing else:

    ./uploader.py run uploader-config.yaml             as it did in the uploader that silt grew from
    ./uploader.py run plant.yaml --once                a manifest, and every other verb of silt's
    ./uploader.py --config uploader-config.yaml        the old uploader's own spelling

uv makes an environment of what the head says and keeps it.  `tool.uv.sources` takes silt from the checkout
that this file lies in; without that table uv takes `siltlake` from the package index.
"""

from __future__ import annotations

import sys

from silt.cli import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["--config"]:
        sys.argv[1:2] = ["run"]
    main()
