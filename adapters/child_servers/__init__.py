"""Server programs that run as children of ours, each in a folder of its own."""
