"""The endpoint process: Open Inference Protocol in front, one worker process per model behind."""
