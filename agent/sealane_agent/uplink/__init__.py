"""What crosses the line to the manager: the session, its wire, the blobs."""
