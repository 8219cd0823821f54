"""Limbeck for text."""

__version__ = "0.1.0"
