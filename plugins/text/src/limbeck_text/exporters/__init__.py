"""Students as ordinary files."""
