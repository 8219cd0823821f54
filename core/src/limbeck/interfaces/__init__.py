"""The interfaces (Teacher, Generator, Objective, ...) and the values that pass between them."""

from limbeck.interfaces.data import Data, Source
from limbeck.interfaces.judging import Metric, ModelMetric, Picture, Sampler
from limbeck.interfaces.networks import Generator, Predictor, Teacher, unwrap
from limbeck.interfaces.objective import Objective
from limbeck.interfaces.values import Batch, Codec, Loss, Prediction, Sample, Space, average
from limbeck.phases import Phase

__all__ = [
    "Batch",
    "Codec",
    "Data",
    "Generator",
    "Loss",
    "Metric",
    "ModelMetric",
    "Objective",
    "Phase",
    "Picture",
    "Prediction",
    "Predictor",
    "Sample",
    "Sampler",
    "Source",
    "Space",
    "Teacher",
    "average",
    "unwrap",
]
