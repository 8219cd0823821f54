"""Limbeck for 3D."""

__version__ = "0.1.0"
