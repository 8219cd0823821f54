"""Samples as people see them."""
