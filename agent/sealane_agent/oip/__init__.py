"""The Open Inference Protocol on gRPC: stubs in a descriptor pool of their own."""
