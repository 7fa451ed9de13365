"""Job: shards -> regressor.

``ray job submit -- python jobs/train.py --data DIR --out DIR --stage 2 --from WEIGHTS``.
"""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
