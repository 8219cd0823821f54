"""Real examples."""
