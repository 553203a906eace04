"""The gRPC client and the embedded server."""
