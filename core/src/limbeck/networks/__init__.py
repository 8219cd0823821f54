"""Networks around a prediction: denoiser, guidance, scenes, the cache of causal networks, sharded weights."""
