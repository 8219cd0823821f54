"""Limbeck for video."""
