"""Where things should be."""
