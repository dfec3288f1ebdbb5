"""Bundles: their types, their file formats and their offline verification."""
