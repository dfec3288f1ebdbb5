"""The pages; one noun a file. Each parses, asks an office, shows."""
