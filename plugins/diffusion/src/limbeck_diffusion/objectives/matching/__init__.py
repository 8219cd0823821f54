"""Distribution matching and score distillation."""
