"""Decides whether what a model sees or answers has changed: pure statistics over bins."""
