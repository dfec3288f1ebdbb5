"""What the line's own software says to the agent of its machine."""
