"""Samplers: from noise to data, on every process."""
