"""Limbeck for audio."""
