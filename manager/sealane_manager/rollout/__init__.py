"""Rollouts: pure decisions over plain values, and the controller that carries them out."""
