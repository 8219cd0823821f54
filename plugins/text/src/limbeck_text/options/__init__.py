"""Options of the components, a file per room. Pydantic, no torch: they are checked before anything heavy loads."""
