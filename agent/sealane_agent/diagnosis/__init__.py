"""Says what is wrong with a device, and what to do about it; changes nothing."""
