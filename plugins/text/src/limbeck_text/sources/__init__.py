"""Sources of batches of this modality."""
