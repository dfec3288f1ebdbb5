"""A rollout as a file: its grammar, its schema, what it asks for, and what differs."""
