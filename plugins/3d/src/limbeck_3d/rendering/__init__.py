"""Renderers, in plain torch."""
