"""How Tollbook is started: settings, the composition root, the command line."""
