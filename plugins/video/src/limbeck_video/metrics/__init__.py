"""Metrics of this modality."""
