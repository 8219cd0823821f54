"""Networks and heads that several modalities share."""
