"""Losses over a vocabulary and their divergences."""
