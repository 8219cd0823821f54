"""The networks of clips, held to the contract of their abilities by the conformance kit."""

import torch

import limbeck
from limbeck.plugins.registry import registry
from limbeck.testing.conformance import GeneratorConformance, TeacherConformance
from limbeck_video.networks.moving_digits import moving_digits_causal, moving_digits_generator

SMALL = {"width": 16, "depth": 2, "heads": 2, "patch": 10}


def labels(n):
    return torch.stack([torch.arange(n) % 10, torch.full((n,), 9)], dim=1)


def seeded(make, **options):
    limbeck.rng(0, phase="conformance").seed_globally()
    return make(**options)


class _OnClips:
    def conditions(self, n):
        return labels(n)


class TestBundledTeacher(_OnClips, TeacherConformance):
    component = "video/moving_digits"


class TestBundledCausalStart(_OnClips, TeacherConformance):
    component = "video/moving_digits_causal"


class TestBidirectionalNetwork(_OnClips, GeneratorConformance):
    can = registry.find("generator", "video/moving_digits").component.can

    def make(self):
        return seeded(moving_digits_generator, two_times=True, **SMALL)


class TestCausalNetwork(_OnClips, GeneratorConformance):
    can = registry.find("generator", "video/moving_digits_causal").component.can

    def make(self):
        return seeded(moving_digits_causal, start="fresh", two_times=True, **SMALL)


class TestFrameByFrameNetwork(_OnClips, GeneratorConformance):
    can = registry.find("generator", "video/moving_digits_causal").component.can

    def make(self):
        return seeded(moving_digits_causal, start="fresh", attention="causal", two_times=True, **SMALL)
