"""The audit log as both sides agree on it: entries, their Merkle tree, its signed checkpoints."""
