"""The command `python -m benchmarks`.

A process that shares the work of a figure reads this file anew, as one of `tollbook` reads its own
start; so there is nothing here for it to import.
"""

import sys

if __name__ == "__main__":
    from benchmarks.command import main

    sys.exit(main())
