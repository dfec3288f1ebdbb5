"""Backups: everything that a manager cannot be without, in one file, and back."""
