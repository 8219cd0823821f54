"""Regression on stored pairs."""
