"""Metrics on one set of samples, and on the model that made them."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch

from limbeck.interfaces import Data, Metric, ModelMetric, Sampler, Teacher
from limbeck.sampling.samples import Samples, evaluating


def named_metrics(metrics: Any) -> dict[str, Metric]:
    """Metrics by name, in order, from a mapping or a sequence."""
    if isinstance(metrics, Mapping):
        return dict(metrics)
    return {type(metric).__name__: metric for metric in metrics or ()}


def directions(metrics: Any) -> dict[str, Literal["lower", "higher"]]:
    """For every number that the metrics return: is lower or higher better?"""
    return {key: way for metric in named_metrics(metrics).values() for key, way in metric.better.items()}


def measure(
    samples: Samples,
    metrics: Any,
    reference: Data,
    *,
    model: Any = None,
    teacher: Teacher | None = None,
    sampler: Sampler | None = None,
    steps: int = 1,
) -> dict[str, float]:
    """All metrics on one set of samples, and on the model that made them (by `sampler`, in `steps`) where one is
    given, flat.

    Metrics of samples are nan throughout when a sample is not finite: a distance to it means nothing, and an
    evaluation must not end a run.
    """
    found: dict[str, float] = {}
    finite = bool(torch.isfinite(samples.value).all()) if samples.value.is_floating_point() else True
    for name, metric in named_metrics(metrics).items():
        if isinstance(metric, ModelMetric):
            if model is None:
                continue  # real data: there is no model to judge
            how: dict[str, Any] = {"sampler": sampler, "steps": steps} if metric.samples else {}
            with evaluating(model):
                numbers = metric(model, teacher, reference, **how)
        else:
            judged = metric(samples.value, samples.cond, reference) if finite else None
            numbers = judged if judged is not None else dict.fromkeys(metric.better, math.nan)
        for key, value in numbers.items():
            found[f"{name}/{key}" if key in found else key] = float(value)
    return found
