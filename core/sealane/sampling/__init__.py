"""Samples of inputs: what a release lets be kept, and how it is sealed for the manager alone."""
