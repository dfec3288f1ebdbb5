"""The dashboard: pages that the manager renders, over the same offices as the command line."""
