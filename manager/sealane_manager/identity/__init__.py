"""Who a device is: certificates, join tokens, renewal, and keys that follow one another."""
