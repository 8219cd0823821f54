"""Limbeck objectives, samplers and sources for every diffusion process."""
