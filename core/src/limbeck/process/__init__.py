"""Processes: how data is corrupted, Gaussian noise or tokens replaced. All conversions live here, once."""
