"""The endpoint: Open Inference Protocol in front, one worker process per model behind."""
