"""Job: shards, regressor and prior -> hypotheses and per-image records.

``ray job submit -- python jobs/evaluate.py --data DIR --checkpoint DIR --prior DIR --out DIR``.
"""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
