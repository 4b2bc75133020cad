"""gRPC over HTTP/2 for one event loop: a server for strangers, a channel to a server of our own."""
