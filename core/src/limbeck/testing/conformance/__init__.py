"""The conformance kit: the contract of every kind of component, as classes to inherit and as a function.

    class TestMyTeacher(TeacherConformance):
        can = {"gaussian", "denoiser", "trainable_copy"}

        def make(self):
            return my_teacher()

    print(check(my_teacher(), can={"gaussian", "denoiser"}))            # the same, without pytest

Which checks run follows from declared abilities, never from class names. A check that does not apply is skipped,
counted and gives its reason. A known failure is written down as `expected_failures = {"check": "reason"}`, and must
really fail.
"""

from limbeck.testing.conformance.kits import (
    Conformance,
    DataConformance,
    GeneratorConformance,
    MetricConformance,
    ObjectiveConformance,
    PluginConformance,
    SamplerConformance,
    TeacherConformance,
    check,
)
from limbeck.testing.conformance.report import CHECKS, Case, Check, Report, Result, Skip

__all__ = [
    "CHECKS", "Case", "Check", "Conformance", "DataConformance", "GeneratorConformance", "MetricConformance",
    "ObjectiveConformance", "PluginConformance", "Report", "Result", "SamplerConformance", "Skip", "TeacherConformance",
    "check",
]  # fmt: skip
