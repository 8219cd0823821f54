"""Samples as pictures: grids, drawings, and the views of domains."""
