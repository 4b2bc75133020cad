"""The application's commands for the console script `tollbook`, one file each."""
