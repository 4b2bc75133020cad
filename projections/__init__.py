"""What can be asked: one file is one read model, with its table, its handlers and its queries."""
