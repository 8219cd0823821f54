"""Limbeck objectives, samplers and sources for every diffusion process."""

__version__ = "0.1.0"
