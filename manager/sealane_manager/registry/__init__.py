"""Bundles to and from OCI registries, which are believed nothing without its digest."""
