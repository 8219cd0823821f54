"""Prompts become conditions: the one call of a pipeline's own text encoders."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError, did_you_mean
from limbeck_diffusion.pipelines.families import Family
from limbeck_diffusion.pipelines.layouts import Size

# Arguments of `encode_prompt` whose usual values stand in the signature of the pipeline's own call.
SETTINGS = ("max_sequence_length", "complex_human_instruction", "clean_caption", "clip_skip")


def encode_prompts(pipeline: Any, family: Family, prompts: Sequence[str], size: Size, **settings: Any) -> Conditions:
    """What the network is given for these prompts, as the pipeline itself would compute it; no gradients.

    Args:
        pipeline: with the components `family.text_parts`; where those are, the work is done and the result lies.
        settings: instead of the usual values of `SETTINGS`.

    Returns:
        Conditions of len(prompts) rows: `prompt` (B, L, D) and what else the family names.
    """
    accepted = inspect.signature(pipeline.encode_prompt).parameters
    usual = {k: p.default for k, p in inspect.signature(type(pipeline).__call__).parameters.items() if k in SETTINGS}
    unknown = sorted(set(settings) - set(accepted))
    if unknown:
        raise LimbeckError(
            f"{family.title} does not know the prompt setting {unknown[0]!r}. {did_you_mean(unknown[0], accepted)}"
            f"It knows: {', '.join(name for name in SETTINGS if name in accepted)}"
        )
    arguments = {name: value for name, value in (usual | settings).items() if name in accepted}
    arguments |= {name: None for name in ("prompt_2", "prompt_3") if name in accepted}
    arguments |= {name: 1 for name in ("num_images_per_prompt", "num_videos_per_prompt") if name in accepted}
    if "do_classifier_free_guidance" in accepted:
        arguments["do_classifier_free_guidance"] = False
    device = pipeline.text_encoder.device
    with torch.no_grad():
        out = pipeline.encode_prompt(prompt=list(prompts), device=device, **arguments)
        parts = out if isinstance(out, tuple) else (out,)
        found = {name: parts[position] for name, position in family.text.items()}
        if family.more is not None:
            found = family.more(pipeline, found, size)
    return Conditions({name: tensor.detach() for name, tensor in found.items()})


class PromptEncoder:
    """Prompts to conditions, and what stands for "no prompt". Not a module: copies of a teacher share it, and its text
    encoders are neither trained nor saved with one.

    `encoder(["a cat", ""])` is Conditions of two rows; the empty prompt is "no prompt", whatever the family does about
    that (the embedding of an empty text, zeros). Text encoders are loaded by the first prompt that is not remembered.

    Args:
        open_pipeline: gives a pipeline that holds the text encoders; called once, when they are needed.
        size: the size that conditions describe.
        negative: a prompt in the place of the empty one.
        remember: rows kept in memory, on the CPU.
    """

    def __init__(
        self,
        family: Family,
        open_pipeline: Callable[[], Any],
        size: Size,
        *,
        negative: str = "",
        settings: dict[str, Any] | None = None,
        remember: int = 4096,
    ):
        self.family, self.size, self.negative = family, size, negative
        self.settings, self.remember = dict(settings or {}), remember
        self._open, self._pipeline = open_pipeline, None
        self._known: dict[str, Conditions] = {}

    def __deepcopy__(self, memo: dict) -> "PromptEncoder":
        return self

    @property
    def pipeline(self) -> Any:
        """The pipeline with the text encoders, loaded now if it was not."""
        if self._pipeline is None:
            self._pipeline = self._open()
        return self._pipeline

    def release(self) -> None:
        """Forget the text encoders (gigabytes); their embeddings are kept. The next new prompt loads them again."""
        self._pipeline = None

    def __call__(self, prompts: Sequence[str], device: torch.device | str | None = None) -> Conditions:
        """(B,) prompts to Conditions of B rows, on the CPU. Text encoders that have to work are moved to `device`
        first, and stay there until `release`."""
        wanted = list(prompts)
        if stranger := next((p for p in wanted if not isinstance(p, str)), None):
            raise LimbeckError(f"a prompt is a text; got {stranger!r}, a {type(stranger).__name__}")
        if not wanted:
            raise LimbeckError("no prompts were given: a batch of conditions has at least one row")
        new = [prompt for prompt in dict.fromkeys(wanted) if prompt not in self._known]
        if new and len(self._known) + len(new) > self.remember:
            self._known = {prompt: row for prompt, row in self._known.items() if prompt in ("", *wanted)}
        if new and device is not None:
            for part in self.family.text_parts:
                module = getattr(self.pipeline, part, None)
                if isinstance(module, nn.Module):
                    module.to(device)
        for prompt in new:  # one by one: a row must not depend on its neighbours
            self._known[prompt] = self._row(prompt)
        rows = [self._known[prompt] for prompt in wanted]
        return Conditions({name: torch.cat([row[name] for row in rows]) for name in rows[0]})

    def put(self, prompt: str, row: Conditions) -> None:
        """Remember the conditions (1 row) of a prompt: those of a cache on disk."""
        self._known[prompt] = row

    def _row(self, prompt: str) -> Conditions:
        if prompt:
            row = encode_prompts(self.pipeline, self.family, [prompt], self.size, **self.settings)
        else:
            row = self._none()
        return row.to("cpu")

    def _none(self) -> Conditions:
        settings = dict(self.settings)
        if "complex_human_instruction" in inspect.signature(self.pipeline.encode_prompt).parameters:
            settings["complex_human_instruction"] = None  # only real prompts are preceded by it
        row = encode_prompts(self.pipeline, self.family, [self.negative], self.size, **settings)
        null = self.family.null
        if null == "zeros_if_configured":
            null = "zeros" if self.pipeline.config.get("force_zeros_for_empty_prompt") else "empty"
        if null == "zeros" and not self.negative:
            nothing: dict[str, Tensor] = {n: torch.zeros_like(row[n]) for n in row if n not in self.family.null_keeps}
            row = row.but(**nothing)
        return row


__all__ = ["PromptEncoder", "encode_prompts"]
