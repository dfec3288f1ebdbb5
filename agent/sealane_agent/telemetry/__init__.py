"""From windows and the machine's own figures to the manager: collected, spooled, sent."""
