"""Oracles and the conformance kit.

- `GaussianTeacher`, `GaussianMixtureTeacher`, `MarkovChainTeacher`: teachers whose every quantity has a closed form;
- `GaussianPredictor`, `GaussianGenerator`: the trainable side of the first, a critic and a student that can be exactly
  right;
- `AR1`, `CausalToy`, `CausalNetwork`: a sequence of frames in closed form, and causal generators with a cache;
- `FixedDraws`, `gauss_hermite_batch`: turn a Monte Carlo loss into an exact expectation;
- `TeacherConformance` and its relatives, `check`: the contract, for a plugin's own tests.
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "AR1": "causal",
    "CausalNetwork": "causal",
    "CausalToy": "causal",
    "ar1_covariance": "causal",
    "CHECKS": "conformance",
    "DataConformance": "conformance",
    "FixedDraws": "draws",
    "gauss_hermite": "draws",
    "gauss_hermite_batch": "draws",
    "GaussianMixtureTeacher": "mixture",
    "MarkovChainTeacher": "chain",
    "GeneratorConformance": "conformance",
    "MetricConformance": "conformance",
    "ObjectiveConformance": "conformance",
    "PluginConformance": "conformance",
    "Report": "conformance",
    "SamplerConformance": "conformance",
    "TeacherConformance": "conformance",
    "check": "conformance",
    "TinyNetwork": "network",
    "GaussianGenerator": "gaussian",
    "GaussianPredictor": "gaussian",
    "GaussianTeacher": "gaussian",
}

__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"limbeck.testing.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'limbeck.testing' has no attribute {name!r}. It offers: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
