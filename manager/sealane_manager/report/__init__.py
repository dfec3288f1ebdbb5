"""The report of a rollout: what happened, who did it, why, and on which evidence."""
