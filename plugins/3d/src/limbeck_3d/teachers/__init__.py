"""Teachers that are no networks."""
