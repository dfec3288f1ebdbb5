"""The agent's own versions: staged, tried, kept or given up, beside the one that serves."""
