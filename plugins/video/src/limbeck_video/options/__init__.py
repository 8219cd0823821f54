"""Options of its components. Pydantic, no torch."""
