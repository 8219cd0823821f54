r"""A categorical teacher that is exact: the data is a first-order Markov chain.

x0_1 ~ initial, x0_{i+1} ~ transition[x0_i], length L. Corruption is independent per position, so p(x0_i | x_t) is a
hidden Markov model with emissions q(x_t,i | x0_i): forward-backward gives it exactly, for masked and uniform processes
alike. Letters: B batch, L sequence, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Prediction, Space, Teacher
from limbeck.process.categorical import CategoricalProcess, MaskedProcess, draw
from limbeck.randomness import Rng

IMPOSSIBLE = -1e30  # logit of probability zero: finite, so that 0 * log 0 is 0 and not nan


class MarkovChainTeacher(Teacher):
    """Exact posterior logits of a Markov chain under a categorical process.

    Args:
        process: masked or uniform, with `vocab` V.
        transition: (V, V), rows sum to one.
        initial: (V,); the stationary distribution of `transition` when None.
        length: L.
    """

    process: CategoricalProcess

    def __init__(self, process: CategoricalProcess, transition: Tensor, initial: Tensor | None = None, *, length: int):
        super().__init__()
        size = process.vocab
        transition = torch.as_tensor(transition, dtype=torch.float64)
        if transition.shape != (size, size) or not torch.allclose(transition.sum(1), transition.new_ones(size)):
            raise ValueError(
                f"transition must be ({size}, {size}) with rows that sum to one; got {tuple(transition.shape)}"
            )
        if initial is None:
            initial = torch.linalg.matrix_power(transition, 4096).mean(0)
        self.process, self.space, self.length = process, Space((length,), domain="tokens"), length
        self.transition: Tensor
        self.initial: Tensor
        self.register_buffer("transition", transition)
        start = torch.as_tensor(initial, dtype=torch.float64)
        self.register_buffer("initial", start / start.sum())

    def posterior(self, xt: Tensor, t: Tensor) -> Tensor:
        """p(x0_i = v | x_t), (B, L, V), float64. Forward-backward, rescaled at every position.

        On a masked process it is the same at every t, so that a prompt may be visible even at t = 1.
        """
        if isinstance(self.process, MaskedProcess):
            t = torch.full_like(t, 0.5)
        emission = self.process.likelihood(xt, t)  # (B, L, V)
        forward, backward = [self.initial * emission[:, 0]], [torch.ones_like(emission[:, -1])]
        for i in range(1, xt.shape[1]):
            previous = forward[-1] / forward[-1].sum(-1, keepdim=True)
            forward.append((previous @ self.transition) * emission[:, i])
            later = (emission[:, -i] * backward[-1]) @ self.transition.T
            backward.append(later / later.sum(-1, keepdim=True))
        joint = torch.stack(forward, 1) * torch.stack(backward[::-1], 1)
        return joint / joint.sum(-1, keepdim=True)

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, features: Sequence[int] = ()) -> Prediction:
        """logits = log p(x0_i | x_t), (B, L, V), float32 or better like t; features 0: the probabilities, (B, L V)."""
        p = self.posterior(xt, t)
        logits = torch.where(p > 0, p.clamp_min(1e-300).log(), IMPOSSIBLE).to(
            torch.promote_types(t.dtype, torch.float32)
        )
        return Prediction(logits=logits, features=tuple(p.flatten(1).to(logits.dtype) for _ in features))

    def log_density(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """log p(x_t), (B,), exact; of the data when t is None. Impossible sequences give -inf."""
        t = torch.zeros(len(x), dtype=torch.float64, device=x.device) if t is None else t
        emission = self.process.likelihood(x, t)
        state = self.initial * emission[:, 0]
        total = state.new_zeros(len(x))
        for i in range(1, x.shape[1]):
            norm = state.sum(-1, keepdim=True)
            total = total + norm[:, 0].log()
            state = (state / norm.clamp_min(1e-300)) @ self.transition * emission[:, i]
        return total + state.sum(-1).log()

    def entropy(self) -> float:
        """Entropy of the data in nats, -E log p(x0)."""
        marginal, total = self.initial, -torch.special.xlogy(self.initial, self.initial).sum()
        rows = -torch.special.xlogy(self.transition, self.transition).sum(1)
        for _ in range(self.length - 1):
            total = total + (marginal * rows).sum()
            marginal = marginal @ self.transition
        return float(total)

    def sample(self, n: int, rng: Rng, *, t: float | None = None, purpose: str = "sample") -> Tensor:
        """`n` draws of x0, or of x_t, (n, L). Draws uniform `purpose` and, for x_t, `purpose/eps`."""
        u = rng.uniform(purpose, (n, self.length), torch.float64)
        tokens = [draw(self.initial.expand(n, -1), u[:, 0])]
        for i in range(1, self.length):
            tokens.append(draw(self.transition[tokens[-1]], u[:, i]))
        x0 = torch.stack(tokens, 1)
        if t is None:
            return x0
        noise = self.process.noise(tuple(x0.shape), rng, f"{purpose}/eps")
        return self.process.add_noise(x0, noise, torch.full((n,), t, dtype=torch.float64, device=x0.device))

    def sequences(self) -> Tensor:
        """All V**L sequences, for brute force, (V**L, L)."""
        axes = [torch.arange(self.process.vocab, device=self.initial.device)] * self.length
        return torch.cartesian_prod(*axes).reshape(-1, self.length)
