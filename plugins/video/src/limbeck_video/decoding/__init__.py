"""Video files as clips."""
