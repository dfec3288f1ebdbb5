"""The command line of a device: sealane-agent."""
