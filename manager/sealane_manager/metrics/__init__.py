"""What Prometheus reads: cohorts and counts of the fleet, never one series a device."""
