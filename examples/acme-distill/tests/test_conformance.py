"""Limbeck's contract: one class per component, which returns the object to be judged."""

import torch

from acme_distill import _plugin
from acme_distill.energy import EnergyDistance
from acme_distill.planar import planar
from acme_distill.ring import ring
from limbeck.testing import GeneratorConformance, ObjectiveConformance, PluginConformance, TeacherConformance


class TestPlugin(PluginConformance):
    def make(self):
        return _plugin


class TestRing(TeacherConformance):
    can = {"gaussian", "denoiser"}

    def make(self):
        return ring()


class TestPlanar(GeneratorConformance):
    can = {"gaussian", "denoiser", "sampling", "trainable_copy"}

    def make(self):
        torch.manual_seed(0)
        return planar()


class TestEnergyDistance(ObjectiveConformance):
    def make(self):
        return EnergyDistance()
