"""From noise to samples: rollouts, chunks, batches of samples, prompts."""
