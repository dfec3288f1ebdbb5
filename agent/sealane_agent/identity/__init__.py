"""How a machine becomes a device and stays one: key, certificate, renewal."""
