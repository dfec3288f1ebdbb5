"""What a device does with a kit that somebody carried to it."""
