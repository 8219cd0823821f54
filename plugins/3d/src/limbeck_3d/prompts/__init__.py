"""The words of prompts, what they describe, and their tokens."""
