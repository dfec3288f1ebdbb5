"""What a Sealane manager and a Sealane agent must agree on."""
