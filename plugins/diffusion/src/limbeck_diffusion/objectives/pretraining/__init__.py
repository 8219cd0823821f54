"""Objectives that train teachers."""
