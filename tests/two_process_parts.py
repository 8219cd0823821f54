"""Toy clips for the two-process tests: run in every process before recipes are loaded."""

from limbeck import Component, Denoiser, RectifiedFlow, Space
from limbeck.plugins.registry import registry
from limbeck.testing.causal import CausalNetwork

EVENT, CLASSES = (6, 2), 0


def network(chunk):
    return Denoiser(CausalNetwork(EVENT, width=16, chunk=chunk), RectifiedFlow(), Space(EVENT))


def register():
    """Once per process."""
    if "toy" not in registry._extra:
        can = {"gaussian", "denoiser", "trainable_copy", "sampling", "frame_time"}
        parts = [
            Component("teacher", "toy_clips", lambda: network(None), can=can | {"features"}),
            Component("generator", "toy_causal", lambda: network(2), can=can | {"cache"}),
        ]
        registry.register(parts, name="toy")


register()
