"""Where batches without real examples come from."""
