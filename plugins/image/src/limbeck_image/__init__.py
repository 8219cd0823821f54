"""Limbeck for images."""
