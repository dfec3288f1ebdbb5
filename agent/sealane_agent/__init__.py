"""The Sealane agent: verifies, hot-swaps and serves models on a device."""
