"""Pipelines of `diffusers` as teachers: one table of facts (`families`), one adapter, one loader."""
