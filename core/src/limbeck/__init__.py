"""Limbeck distils slow generative models into fast ones, in every modality, through plugins.

Importing this package is instant: torch and everything heavy load when a name below is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# name -> module that holds it. One table, so that `import limbeck` stays free of torch.
_LAZY = {
    # what a plugin's manifest needs (no torch)
    "LIMBECK_API": "limbeck.manifest",
    "Component": "limbeck.manifest",
    "Needs": "limbeck.manifest",
    "hookimpl": "limbeck.manifest",
    "Options": "limbeck.options",
    # the interfaces
    "Batch": "limbeck.interfaces",
    "Data": "limbeck.interfaces",
    "Generator": "limbeck.interfaces",
    "Loss": "limbeck.interfaces",
    "Metric": "limbeck.interfaces",
    "ModelMetric": "limbeck.interfaces",
    "Objective": "limbeck.interfaces",
    "Phase": "limbeck.interfaces",
    "Picture": "limbeck.interfaces",
    "Prediction": "limbeck.interfaces",
    "Predictor": "limbeck.interfaces",
    "Sample": "limbeck.interfaces",
    "Sampler": "limbeck.interfaces",
    "Source": "limbeck.interfaces",
    "Space": "limbeck.interfaces",
    "Teacher": "limbeck.interfaces",
    "Conditions": "limbeck.conditions",
    "Cameras": "limbeck.scenes",
    "Render": "limbeck.scenes",
    "Scene": "limbeck.scenes",
    "Guided": "limbeck.guidance",
    "Denoiser": "limbeck.denoiser",
    "Plan": "limbeck.rollouts",
    "rollout": "limbeck.rollouts",
    "Cache": "limbeck.cache",
    "chunk_stream": "limbeck.chunks",
    "chunked_rollout": "limbeck.chunks",
    "Rng": "limbeck.randomness",
    "rng": "limbeck.randomness",
    # processes
    "EDM": "limbeck.processes",
    "GaussianProcess": "limbeck.processes",
    "RectifiedFlow": "limbeck.processes",
    "TrigFlow": "limbeck.processes",
    "VP": "limbeck.processes",
    "VPCosine": "limbeck.processes",
    "CategoricalProcess": "limbeck.categorical",
    "MaskedProcess": "limbeck.categorical",
    "UniformProcess": "limbeck.categorical",
    # using it
    "Run": "limbeck.run",
    "compare": "limbeck.comparison",
    "tour": "limbeck.tours",
    "distill": "limbeck.api",
    "pretrain": "limbeck.api",
    "create": "limbeck.registry",
    "objectives": "limbeck.registry",
}

# Modules that are public as such. They are not in the table: an attribute that shares its name with a submodule would
# be the object before that submodule is imported and the module after.
_MODULES = ("registry", "testing")

__all__ = ["__version__", *_LAZY, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        return import_module(f"limbeck.{name}")
    raise AttributeError(f"module 'limbeck' has no attribute {name!r}. It offers: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
