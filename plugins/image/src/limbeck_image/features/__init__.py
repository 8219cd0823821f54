"""Judges: encoders and classifiers of this modality."""
