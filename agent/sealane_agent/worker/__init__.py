"""The worker process: loads one model, proves it, and answers from its ring."""
