"""Inference runtimes, each behind the same small seam, found by entry points."""
