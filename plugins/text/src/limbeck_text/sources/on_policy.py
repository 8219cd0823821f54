"""Texts that the student writes while it learns."""

from limbeck.interfaces import Batch
from limbeck.randomness import Rng
from limbeck_text.options.sources import OnPolicySourceOptions
from limbeck_text.sources.base import CompletionSource


class OnPolicySource(CompletionSource):
    """Rows of the data; with chance `student_fraction`, one coin for the global batch, with completions that the
    student writes now; Agarwal et al. 2024 (GKD), Algorithm 1. Draws: on_policy, and those of `generate_tokens`."""

    name, writer = "on_policy", "generator"
    Options = OnPolicySourceOptions

    def student_fraction(self) -> float:
        """The source's own, else the objective's (gkd has one), else 1."""
        own = self.options.student_fraction
        objective = getattr(getattr(self.objective, "options", None), "student_fraction", None)
        return next((fraction for fraction in (own, objective) if fraction is not None), 1.0)

    def batch(self, size: int, rng: Rng) -> Batch:
        found = self.rows(size, rng)
        by_student = rng.shared_integer("on_policy", 2**24) < self.student_fraction() * 2**24
        return self.completed(found, rng) if by_student else found
