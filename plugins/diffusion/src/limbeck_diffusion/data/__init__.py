"""Real data that several modalities build on."""
