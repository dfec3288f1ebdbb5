"""Generated from protos/inference; see scripts/protos."""
