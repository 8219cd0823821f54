"""Objectives of this modality."""
