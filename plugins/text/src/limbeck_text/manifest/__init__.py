"""What this distribution brings, a file per room. Imports neither torch nor pydantic."""
