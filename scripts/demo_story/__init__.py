"""The demo: a plant on loopback, five devices and four releases, two of them bad."""
