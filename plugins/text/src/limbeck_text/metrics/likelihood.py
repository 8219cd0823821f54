"""How good a language model is: likelihood of held-out text, divergence from its teacher, likelihood of its samples.

All are means over valid tokens, in nats unless the name names another unit. Letters: B batch, L sequence, V vocabulary.
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import LimbeckError
from limbeck.export import teacher_files
from limbeck.interfaces import Batch, Data, Metric, ModelMetric, unwrap
from limbeck_text.losses.divergences import forward_kl, log_probs
from limbeck_text.losses.next_token import next_token_mask
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.models.same_tokenizer import check_same_tokenizer
from limbeck_text.options.measures import GenerativeNLLOptions, NLLOptions
from limbeck_text.tokenizers.tokenizer import TextTokenizer, bundled


def token_nll(model: LanguageModel, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """-log p(x_{l+1} | x_1 .. x_l), (B, L - 1), float32: tokens (B, L), mask (B, L) true where real."""
    logits = model(tokens, mask)[:, :-1].float()
    return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")


def bytes_of(tokenizer: TextTokenizer, tokens: Tensor) -> int:
    """Length of the text of tokens (N,) in bytes of UTF-8."""
    return len(tokenizer.decode(tokens.tolist()).encode())


def _windows(reference: Data, options: NLLOptions, device: torch.device) -> list[Batch]:
    held_out = reference.split("held_out")
    count = min(options.windows, len(held_out))
    rows = torch.linspace(0, len(held_out) - 1, count).round().long()  # spread over all documents
    return [held_out.batch(part).to(device) for part in rows.split(options.batch_size)]


class NLL(ModelMetric):
    """Held-out negative log likelihood: nats per token, and bits per byte, which compares across tokenizers."""

    Options = NLLOptions
    better = {"nll": "lower", "bits_per_byte": "lower"}

    def __init__(self, **options: Any):
        self.options = NLLOptions(**options)

    def __call__(self, model: Any, teacher: Any, reference: Data) -> dict[str, float]:
        model = unwrap(model)
        total, count, size = 0.0, 0, 0
        for batch in _windows(reference, self.options, next(model.parameters()).device):
            assert batch.x0 is not None
            valid = next_token_mask(batch)
            total += float(token_nll(model, batch.x0, batch.attention_mask)[valid].double().sum())
            count += int(valid.sum())
            size += bytes_of(model.tokenizer, batch.x0[:, 1:][valid])
        return {"nll": total / count, "bits_per_byte": total / size / math.log(2)}


class KLToTeacher(ModelMetric):
    """Forward KL(teacher || student) per token on held-out windows; the teacher's own is 0."""

    Options = NLLOptions
    better = {"kl_to_teacher": "lower"}

    def __init__(self, **options: Any):
        self.options = NLLOptions(**options)

    def __call__(self, model: Any, teacher: Any, reference: Data) -> dict[str, float]:
        model = unwrap(model)
        if teacher is None:
            raise LimbeckError(
                "the metric kl_to_teacher compares with a teacher, and this run has none: take it out of "
                "evaluate.metrics, or add a teacher"
            )
        check_same_tokenizer(teacher, model)
        total, count = 0.0, 0
        for batch in _windows(reference, self.options, next(model.parameters()).device):
            assert batch.x0 is not None
            valid = next_token_mask(batch)
            given = (batch.x0, batch.attention_mask)
            p, q = (log_probs(network(*given)[:, :-1].float()) for network in (teacher, model))  # (B, L - 1, V)
            kl = forward_kl(p, q)  # (B, L - 1)
            total += float(kl[valid].double().sum())
            count += int(valid.sum())
        return {"kl_to_teacher": total / count}


@lru_cache(maxsize=2)
def judge(weights: str) -> LanguageModel:
    """The independent model: trained on documents that no teacher saw, used nowhere else."""
    return teacher_files.teacher(weights, generator="text/pydocs_lm")


class GenerativeNLL(Metric):
    """Negative log likelihood of samples under the bundled judge, per token. Low alone is no virtue: a loop of one
    phrase is likely, too; read it beside the entropy of the tokens.

    A row counts up to its first end-of-sequence token, that one included; prompts count as context only.
    """

    Options = GenerativeNLLOptions
    better = {"generative_nll": "lower"}

    def __init__(self, **options: Any):
        self.options = GenerativeNLLOptions(**options)

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        model = judge(self.options.weights)
        used = getattr(reference, "tokenizer", None) or bundled()
        if used.fingerprint() != model.tokenizer.fingerprint():
            raise LimbeckError(
                "generative_nll judges tokens of the bundled tokenizer, and this run uses another one: take the metric "
                "out of evaluate.metrics"
            )
        prompt = cond.shape[1] if isinstance(cond, Tensor) and cond.ndim == 2 else 0
        total, count = 0.0, 0
        for tokens in samples.split(self.options.batch_size):
            start = torch.full_like(tokens[:, :1], model.eos[0])
            valid = until_end(tokens, model.eos, prompt)
            with torch.no_grad():
                nll = token_nll(model, torch.cat([start, tokens], dim=1)[:, : model.context])
            valid = valid[:, : nll.shape[1]]
            total += float(nll[valid].double().sum())
            count += int(valid.sum())
        return {"generative_nll": total / count if count else math.nan}


def until_end(tokens: Tensor, eos: tuple[int, ...], prompt: int = 0) -> Tensor:
    """(B, L), true from `prompt` on up to the first end-of-sequence token there, that one included."""
    ends = torch.isin(tokens, torch.tensor(eos, device=tokens.device))
    ends[:, :prompt] = False
    after = ends.long().cumsum(-1) - ends.long() > 0
    valid = ~after
    valid[:, :prompt] = False
    return valid
