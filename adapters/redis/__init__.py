"""Redis: allowances that it hands out, and a server of our own: found, started and stopped."""
