"""Scenes: what is trained, and rendered through cameras."""
