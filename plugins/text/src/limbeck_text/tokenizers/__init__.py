"""Tokenizers: text to token ids and back, padding, the codec of spaces of text."""
