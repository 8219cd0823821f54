"""Meshes and fields: shapes, surfaces of fields, repair."""
