"""Students as ordinary artefacts, and networks as teacher files."""
