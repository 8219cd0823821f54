"""Limbeck distils slow generative models into fast ones, in every modality, through plugins.

Importing this package is instant: torch and everything heavy load when a name below is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers; a test holds them against the table below
    from limbeck import testing as testing
    from limbeck.api import distill as distill, pretrain as pretrain
    from limbeck.catalogue.catalogue import objectives as objectives
    from limbeck.conditions import Conditions as Conditions
    from limbeck.interfaces import (
        Batch as Batch,
        Data as Data,
        Generator as Generator,
        Loss as Loss,
        Metric as Metric,
        ModelMetric as ModelMetric,
        Objective as Objective,
        Phase as Phase,
        Picture as Picture,
        Prediction as Prediction,
        Predictor as Predictor,
        Sample as Sample,
        Sampler as Sampler,
        Source as Source,
        Space as Space,
        Teacher as Teacher,
    )
    from limbeck.manifest import (
        LIMBECK_API as LIMBECK_API,
        Component as Component,
        Needs as Needs,
        hookimpl as hookimpl,
    )
    from limbeck.networks.cache import Cache as Cache
    from limbeck.networks.denoiser import Denoiser as Denoiser
    from limbeck.networks.guidance import Guided as Guided
    from limbeck.networks.scenes import Cameras as Cameras, Render as Render, Scene as Scene
    from limbeck.options import Options as Options
    from limbeck.plugins import registry as registry
    from limbeck.plugins.registry import create as create
    from limbeck.process.categorical import (
        CategoricalProcess as CategoricalProcess,
        MaskedProcess as MaskedProcess,
        UniformProcess as UniformProcess,
    )
    from limbeck.process.gaussian import (
        EDM as EDM,
        VP as VP,
        GaussianProcess as GaussianProcess,
        RectifiedFlow as RectifiedFlow,
        TrigFlow as TrigFlow,
        VPCosine as VPCosine,
    )
    from limbeck.randomness import Rng as Rng, rng as rng
    from limbeck.runs.comparison import compare as compare
    from limbeck.runs.run import Run as Run
    from limbeck.runs.tours import tour as tour
    from limbeck.sampling.chunks import chunk_stream as chunk_stream, chunked_rollout as chunked_rollout
    from limbeck.sampling.rollouts import Plan as Plan, rollout as rollout

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
    "Cameras": "limbeck.networks.scenes",
    "Render": "limbeck.networks.scenes",
    "Scene": "limbeck.networks.scenes",
    "Guided": "limbeck.networks.guidance",
    "Denoiser": "limbeck.networks.denoiser",
    "Plan": "limbeck.sampling.rollouts",
    "rollout": "limbeck.sampling.rollouts",
    "Cache": "limbeck.networks.cache",
    "chunk_stream": "limbeck.sampling.chunks",
    "chunked_rollout": "limbeck.sampling.chunks",
    "Rng": "limbeck.randomness",
    "rng": "limbeck.randomness",
    # processes
    "EDM": "limbeck.process.gaussian",
    "GaussianProcess": "limbeck.process.gaussian",
    "RectifiedFlow": "limbeck.process.gaussian",
    "TrigFlow": "limbeck.process.gaussian",
    "VP": "limbeck.process.gaussian",
    "VPCosine": "limbeck.process.gaussian",
    "CategoricalProcess": "limbeck.process.categorical",
    "MaskedProcess": "limbeck.process.categorical",
    "UniformProcess": "limbeck.process.categorical",
    # using it
    "Run": "limbeck.runs.run",
    "compare": "limbeck.runs.comparison",
    "tour": "limbeck.runs.tours",
    "distill": "limbeck.api",
    "pretrain": "limbeck.api",
    "create": "limbeck.plugins.registry",
    "objectives": "limbeck.catalogue.catalogue",
}

# Modules that are public as such. `registry` lives in a room of its own; an attribute must not share its name with a
# submodule, because it would be the object before that submodule is imported and the module after.
_MODULES = {"registry": "limbeck.plugins.registry", "testing": "limbeck.testing"}

__all__ = ["__version__", *_LAZY, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'limbeck' has no attribute {name!r}. It offers: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
