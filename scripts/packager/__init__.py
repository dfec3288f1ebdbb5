"""Builds Sealane's Debian packages from the tree and the lock."""
