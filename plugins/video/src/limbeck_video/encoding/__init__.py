"""Clips as video files."""
