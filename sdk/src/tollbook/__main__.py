"""``python -m tollbook``: the same as the console script."""

import sys

from tollbook.cli import main

sys.exit(main())
