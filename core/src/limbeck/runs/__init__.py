"""Runs: building a recipe, training it, and sets of runs side by side."""
