"""What this distribution brings. No torch, no pydantic."""
