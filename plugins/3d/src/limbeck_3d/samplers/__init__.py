"""How scenes are rendered for the cameras of a run."""
