"""What a gate may conclude from what devices report, however often it looks."""
