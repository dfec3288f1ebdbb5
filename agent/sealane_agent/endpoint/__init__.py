"""The supervisor's side of the endpoint: the seam, the socket's end, the process that is kept."""
