"""Texts to learn from that are not the data's own: written by the student, or by the teacher.

Both continue real beginnings. A beginning is what a row's `loss_mask` leaves out before its first learned token; where
the data knows no prompts, the first `prompt` tokens of a row. Everything drawn is a function of the `Rng`.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Generator, Objective, Source, Teacher, unwrap
from limbeck.networks.sharding import unsharded
from limbeck.options import Options
from limbeck.randomness import Rng
from limbeck.sampling.samples import evaluating
from limbeck_diffusion.sources.pairs import progress_bar
from limbeck_diffusion.sources.sources import rows_of
from limbeck_text.options.text import OnPolicySourceOptions, TeacherTextSourceOptions
from limbeck_text.tokenizers.codec import left_padded


def prompts_of(batch: Batch, prompt: int) -> tuple[Tensor, Tensor]:
    """The beginnings of a batch, padded on the left: tokens (B, P) and mask (B, P), true where a token is real."""
    assert batch.x0 is not None
    tokens, length = batch.x0, batch.x0.shape[1]
    if batch.loss_mask is None and batch.attention_mask is None:
        if prompt >= length:
            raise LimbeckError(
                f"a prompt of {prompt} tokens leaves nothing to continue in sequences of {length}. Use a shorter "
                "prompt, or longer windows (data.length)"
            )
        return tokens[:, :prompt], torch.ones_like(tokens[:, :prompt], dtype=torch.bool)
    real = torch.ones_like(tokens) if batch.attention_mask is None else batch.attention_mask
    if batch.loss_mask is None:
        begins = (real.cumsum(1) <= prompt) & real.bool()
    else:
        begins = (batch.loss_mask.cumsum(1) == 0) & real.bool()
    found = [row[chosen].tolist() for row, chosen in zip(tokens, begins, strict=True)]
    if empty := [i for i, row in enumerate(found) if not row]:
        raise LimbeckError(
            f"row {empty[0]} of the batch has an empty prompt ({len(empty)} of {len(found)} have): a language model "
            "continues at least one token. Leave such rows out of the data, or begin them with the model's first token"
        )
    return left_padded(found, 0, tokens.device)


@torch.no_grad()
def continued(
    model: nn.Module, prompt: Tensor, prompt_mask: Tensor, *, length: int, temperature: float, top_p: float, rng: Rng
) -> Batch:
    """What a language model makes of beginnings: x0 (B, P + length) with the masks that tell prompt, text and padding.

    The model is asked in evaluation mode. The end-of-sequence token that it wrote is learned; padding behind it is not.
    """
    model = unwrap(model)
    context = getattr(model, "context", None)
    if context is not None and prompt.shape[1] + length > context:
        raise LimbeckError(
            f"a prompt of {prompt.shape[1]} tokens and {length} to continue it are {prompt.shape[1] + length}, and the "
            f"model's context is {context}. Use shorter prompts, or a smaller length"
        )
    with unsharded(model), evaluating(model):  # rows end where they end, in every process at another token
        tokens, real = model.generate_tokens(  # type: ignore[operator]
            prompt, prompt_mask, length=length, temperature=temperature, top_p=top_p, rng=rng
        )
    learned = real.bool().clone()
    learned[:, : prompt.shape[1]] = False
    return Batch(x0=tokens, attention_mask=real.bool(), loss_mask=learned)


def translated(batch: Batch, own: Any, other: Any) -> Batch:
    """Prompts and completions of one tokenizer in the ids of another: the same text, cut apart anew.

    Prompt and completion are encoded apart, so that no token reaches from one into the other.
    """
    assert batch.x0 is not None and batch.attention_mask is not None and batch.loss_mask is not None
    rows, learned = [], []
    for tokens, real, wanted in zip(batch.x0, batch.attention_mask, batch.loss_mask, strict=True):
        written = tokens[wanted].tolist()
        begin = other.encode(own.decode(tokens[real & ~wanted].tolist()))
        ended = bool(written) and written[-1] in own.eos
        end = other.encode(own.decode(written)) + (list(other.eos[:1]) if ended else [])
        rows.append(begin + end)
        learned.append([0] * len(begin) + [1] * len(end))
    x0, real = left_padded(rows, other.pad, batch.x0.device)
    wanted, _ = left_padded(learned, 0, batch.x0.device)
    return Batch(x0=x0, attention_mask=real, loss_mask=wanted.bool())


def at_most(batch: Batch, length: int) -> Batch:
    """Sequences cut to `length` real tokens each: what becomes of a row does not depend on the prompts beside it."""
    assert batch.x0 is not None and batch.attention_mask is not None and batch.loss_mask is not None
    if batch.x0.shape[1] <= length:
        return batch
    real = batch.attention_mask & (batch.attention_mask.cumsum(1) <= length)
    order = real.long().argsort(dim=1, stable=True)[:, -length:]  # padding goes to the left, and falls off
    x0, learned = batch.x0.gather(1, order), (batch.loss_mask & real).gather(1, order)
    return Batch(x0=x0, attention_mask=real.gather(1, order), loss_mask=learned)


class _Writing(Source):
    """What both sources share: rows of the data whose beginnings a model continues."""

    name: ClassVar[str]
    writer: ClassVar[str]
    Options: ClassVar[type[Options]]

    def __init__(
        self,
        *,
        data: Data | None = None,
        teacher: Teacher | None = None,
        generator: Generator | None = None,
        objective: Objective | None = None,
        **options: Any,
    ):
        self.options: Any = self.Options(**options)
        self.data, self.teacher, self.generator, self.objective = data, teacher, generator, objective
        for partner in ("data", self.writer):
            if getattr(self, partner) is None:
                raise ValueError(f"source {self.name!r} needs {partner}, and was given none: add a `{partner}:` block")

    def rows(self, size: int, rng: Rng) -> Batch:
        """Rows of the data, epoch by epoch."""
        data: Any = self.data
        return data.batch(rows_of(rng, size, len(data))).to(rng.device)

    def write(self, batch: Batch, rng: Rng) -> Batch:
        assert batch.x0 is not None
        prompt, mask = prompts_of(batch, self.options.prompt)
        if self.options.length is not None:
            return self.go_on(prompt, mask, self.options.length, rng)
        window = batch.x0.shape[1]
        return at_most(self.go_on(prompt, mask, max(1, window - int(mask.sum(1).min())), rng), window)

    def go_on(self, prompt: Tensor, mask: Tensor, length: int, rng: Rng) -> Batch:
        o, model = self.options, getattr(self, self.writer)
        return continued(model, prompt, mask, length=length, temperature=o.temperature, top_p=o.top_p, rng=rng)


class OnPolicySource(_Writing):
    """Rows of the data; with chance `student_fraction`, one coin for the global batch, with completions that the
    student writes now. Draws: on_policy, and what `generate_tokens` draws."""

    name, writer = "on_policy", "generator"
    Options = OnPolicySourceOptions

    def student_fraction(self) -> float:
        """The source's own, else the objective's (gkd has one), else 1."""
        own = self.options.student_fraction
        return own if own is not None else getattr(getattr(self.objective, "options", None), "student_fraction", 1.0)

    def batch(self, size: int, rng: Rng) -> Batch:
        found = self.rows(size, rng)
        by_student = rng.shared_integer("on_policy", 2**24) < self.student_fraction() * 2**24
        return self.write(found, rng) if by_student else found


class TeacherTextSource(_Writing):
    """The teacher's completions of the data's beginnings: `count` of them, written when first asked for and then gone
    through epoch by epoch like data; or with count 0 new ones every step.

    The i-th completion is a function of (seed, i, chunk): every process and every resumed run has the same ones. A
    teacher with another tokenizer than the generator's is given, and gives, text.
    """

    name, writer = "teacher_text", "teacher"
    Options = TeacherTextSourceOptions

    _texts: Batch | None = None

    def go_on(self, prompt: Tensor, mask: Tensor, length: int, rng: Rng) -> Batch:
        own, other = (getattr(m and unwrap(m), "tokenizer", None) for m in (self.teacher, self.generator))
        if other is None or own is other or own.fingerprint() == other.fingerprint():
            return super().go_on(prompt, mask, length, rng)
        rows = [own.encode(other.decode(row[real].tolist())) for row, real in zip(prompt, mask, strict=True)]
        return translated(super().go_on(*left_padded(rows, own.pad, prompt.device), length, rng), own, other)

    def texts(self, device: torch.device | str = "cpu") -> Batch:
        """All of them; written when first asked for, with a progress bar on a terminal."""
        if self._texts is None:
            o, made = self.options, []
            with progress_bar("teacher texts") as progress:
                for k in range(-(-o.count // o.chunk)):
                    rng = Rng(o.seed, k, "teacher_text", device=device)
                    made.append(self.write(self.rows(o.chunk, rng), rng))
                    if progress is not None:
                        progress(min((k + 1) * o.chunk, o.count), o.count)
            self._texts = _joined(made, o.count)
        return self._texts

    def batch(self, size: int, rng: Rng) -> Batch:
        if self.options.count == 0:
            return self.write(self.rows(size, rng), rng)
        texts = self.texts(rng.device)
        rows = rows_of(rng, size, len(texts)).to(rng.device)
        return Batch(
            x0=texts.x0[rows],  # type: ignore[index]
            attention_mask=texts.attention_mask[rows],  # type: ignore[index]
            loss_mask=texts.loss_mask[rows],  # type: ignore[index]
        )


def _joined(made: list[Batch], count: int) -> Batch:
    """Batches below each other; shorter ones are padded on the left."""
    longest = max(batch.x0.shape[1] for batch in made if batch.x0 is not None)

    def padded(name: str) -> Tensor:
        found = [getattr(batch, name) for batch in made]
        return torch.cat([nn.functional.pad(x, (longest - x.shape[1], 0)) for x in found])[:count]

    return Batch(x0=padded("x0"), attention_mask=padded("attention_mask"), loss_mask=padded("loss_mask"))


__all__ = ["OnPolicySource", "TeacherTextSource", "at_most", "continued", "prompts_of", "translated"]
