"""Samples on the device: what the director ordered, what is kept sealed, and how it leaves."""
