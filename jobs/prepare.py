"""Job: a source -> Parquet shards and a manifest.

ray job submit --working-dir . -- python jobs/prepare.py --out DIR
"""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
