"""Networks, and the bundled teachers."""
