"""The gRPC services: parse, call, convert, nothing else."""
