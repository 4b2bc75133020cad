"""What can be done: use cases, the ports they need, and the batch executor."""
