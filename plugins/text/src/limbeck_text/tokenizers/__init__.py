"""Tokenizers, and the codec between texts and ids."""
