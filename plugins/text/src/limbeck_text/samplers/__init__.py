"""Samplers of this modality."""
