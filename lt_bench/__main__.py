"""``python -m lt_bench``: the command line, for launchers such as torchrun that start modules."""

import sys

from lt_bench.cli import main

sys.exit(main())
