"""Networks that are trained here, and what they start around."""
