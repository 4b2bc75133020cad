"""What `make bench` runs: figures of the ledger beside baselines taken in the same run.

A *measurement* is a function that runs once per round and yields one or more *figures*. Rounds go
through all measurements in turn, so that a slow minute of the machine hits baselines and figures
alike; a figure's value is the median of its rounds (docs/performance.md).
"""
