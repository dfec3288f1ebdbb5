"""Telemetry as tables: which columns there are (pure), and the files they are written to."""
