"""Signing: ceremonies and releases."""
