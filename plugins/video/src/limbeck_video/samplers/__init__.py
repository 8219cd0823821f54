"""Rollouts of models that stream."""
