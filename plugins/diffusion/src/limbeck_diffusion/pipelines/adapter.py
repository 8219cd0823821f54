"""A denoiser of a diffusers pipeline as a `Predictor`: converted once, here, from the facts of its family.

Letters: B batch, F frames, C channels, N tokens, D width. Latents are (B, *event): (C, h, w), clips (F, C, h, w), sound
(C, L).
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.process.gaussian import GaussianProcess
from limbeck_diffusion.pipelines.conditioning import PromptEncoder
from limbeck_diffusion.pipelines.families import Family
from limbeck_diffusion.pipelines.layouts import guidance_vector
from limbeck_diffusion.pipelines.lora import SharedBase, adapted, is_adapter, merged
from limbeck_diffusion.pipelines.schedule import Schedule

NEGATIVE = "negative_"  # in front of a condition's name: what a row puts in its place under guidance


class PipelineTeacher(SharedBase, Predictor):
    """The U-Net or transformer of a pipeline, answering x0_hat on the process its scheduler describes.

    `forward(xt, t, cond)`: xt (B, *event) latents, t (B,) in the process' time, or (B, F) where the family takes a time
    for every token (Wan). cond is what the network is given, by name (`Conditions`: prompt embeddings and so on, see
    `encode`), a list of B prompts, labels (B,) of a class-conditional network, or None for "no prompt".
    `features=(0, -1)` requests hidden states of blocks, in the order of the family's `blocks`: (B, D, h, w) of a U-Net,
    (B, D, N) of a transformer.

    Only the network is registered: state_dict, optimisers and wrappers see nothing else. The autoencoder
    (`space.codec`) and the text encoders (`prompts`) are shared with copies; the former moves with the teacher.

    Args:
        guidance_embedding: scale for a network that takes one as an input (FLUX dev); not classifier-free guidance.
    """

    HELD = "network"
    process: GaussianProcess

    def __init__(
        self,
        network: Any,
        family: Family,
        schedule: Schedule,
        space: Space,
        prompts: PromptEncoder | None = None,
        *,
        guidance_embedding: float = 3.5,
        source: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.network, self.family, self.schedule, self.space = network, family, schedule, space
        self.process = schedule.process
        self.prompts, self.guidance_embedding = prompts, guidance_embedding
        self.source = dict(source or {})  # where it came from: model, revision, variant
        self.keep_base_apart()
        self.eval()

    # --- conditions ---

    def encode(self, prompts: Sequence[str]) -> Any:
        """What the network is given for these prompts, on its device: Conditions, or labels (B,) for class names."""
        device = self._like.device
        if self.prompts is None:
            return torch.tensor([self._label(name) for name in prompts], device=device)
        return self.prompts(prompts, device).to(device)

    def _label(self, name: str) -> int:
        labels: Mapping[str, int] = self.source.get("labels", {})
        if name in labels or name == "":
            return labels.get(name, self.no_label)
        if name.isdigit() and int(name) < self.no_label:
            return int(name)
        raise LimbeckError(
            f"no class {name!r} in this {self.family.title}. Give a number below {self.no_label}"
            + (f", or a name such as {', '.join(list(labels)[:3])}" if labels else "")
        )

    @property
    def no_label(self) -> int:
        """The label that means "no class": the one after the last."""
        return int(self.plain.config.num_embeds_ada_norm)

    def null(self, cond: Any) -> Any:
        """What stands for "no prompt" beside `cond` (None: one row): a row's own `negative_` conditions if any,
        else those of the empty prompt, whatever the family does about it; sizes and durations stay."""
        if self.prompts is None:
            return torch.full_like(cond, self.no_label) if isinstance(cond, Tensor) else [""] * len(cond or [""])
        if cond is None or not isinstance(cond, Conditions):
            return [""] * len(cond or [""])
        kept = (*self.family.null_keeps, "guidance")
        names = [name for name in cond if name not in kept and not name.startswith(NEGATIVE)]
        own = {name: cond[NEGATIVE + name] for name in names if NEGATIVE + name in cond}
        if len(own) == len(names):
            return cond.but(**own)
        row = self.prompts([""])
        empty = {name: row[name].to(cond[name]) for name in names if name in row}
        for name, tensor in empty.items():
            if tensor.shape[1:] != cond[name].shape[1:]:
                raise LimbeckError(
                    f"the conditions' {name!r} is {tuple(cond[name].shape[1:])} a row, that of the empty prompt "
                    f"{tuple(tensor.shape[1:])}. Encode prompts with the settings of this teacher (teacher.encode)"
                )
        return cond.but(**{name: tensor.expand_as(cond[name]) for name, tensor in empty.items()} | own)

    def _conditions(self, cond: Any, rows: int) -> dict[str, Tensor]:
        """Named tensors of `rows` rows, on the network's device and in its type."""
        if cond is None:
            cond = [""] * rows
        if isinstance(cond, list | tuple):
            cond = self.encode(cond)
        named = {"label": cond} if isinstance(cond, Tensor) else dict(cond)
        missing = [name for name in self.family.inputs.values() if name not in named]
        if missing:
            raise LimbeckError(
                f"{self.family.title} needs the condition {missing[0]!r}; got {', '.join(named)}. Encode prompts with "
                "teacher.encode(prompts), or give the prompts themselves"
            )
        like = self._like
        return {
            name: tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)
            for name, tensor in named.items()
        }

    # --- the call ---

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        if s is not None:
            raise TypeError("the networks of diffusers take no second time s, so they cannot be flow maps")
        if xt.shape[1:] != self.space.event:
            raise LimbeckError(
                f"got latents {tuple(xt.shape[1:])}, but this {self.family.title} was set up for {self.space.event}. "
                "Give the data and the teacher the same height, width and frames"
            )
        out, hidden = self._call(xt, t, self._conditions(cond, len(xt)), tuple(features))
        x0_hat = self.process.convert(out.to(xt.dtype), self.schedule.kind, "x0", xt, t)
        return Prediction(x0_hat=x0_hat, features=hidden)

    def _call(
        self, xt: Tensor, t: Tensor, named: Mapping[str, Tensor], features: tuple[int, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The network's own prediction in the layout of `xt`, and the hidden states requested."""
        latents = self.family.layout.to(xt.to(self._like.dtype))
        arguments: dict[str, Any] = {"timestep": self._clock(t, xt)}
        for place, name in self.family.inputs.items():
            outer, dot, inner = place.partition(".")
            if dot:
                arguments.setdefault(outer, {})[inner] = named[name]
            else:
                arguments[outer] = named[name]
        if self.family.positions is not None:
            arguments |= self.family.positions(self.plain, xt.to(latents.dtype), named)
        arguments |= self._guidance(named, len(xt))
        with ExitStack() as watching:
            seen = self._watch(features, watching)
            out = self.network(latents, **arguments, return_dict=False)[0]
        channels = latents.shape[1]
        if self.family.layout.name == "plain" and out.shape[1] == 2 * channels:  # a learned variance beside the mean
            out = out[:, :channels]
        return self.family.layout.back(out, xt.shape), tuple(seen[index] for index in features)

    def _clock(self, t: Tensor, xt: Tensor) -> Tensor:
        """What the network is given at time t: (B,), or (B, N) for its tokens when every frame has a time, (B, F)."""
        timestep = self.schedule.timestep(t)
        if t.ndim == 2:
            if not self.family.token_time:
                raise TypeError(f"{self.family.title} takes one time a sample, (B,); got {tuple(t.shape)}")
            frames, rows, columns = self.plain.config.patch_size
            if frames != 1:
                raise TypeError(f"patches of {frames} frames leave no time a frame; give one a sample, (B,)")
            timestep = timestep.repeat_interleave((xt.shape[-2] // rows) * (xt.shape[-1] // columns), dim=1)
        if self.family.clock == "fraction":
            return timestep / self.schedule.steps
        return timestep * (self.plain.config.get("timestep_scale") or 1.0)

    def _guidance(self, named: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """The guidance scale as an input of the network, where it has one: `guidance` (B,) of the conditions, or
        `guidance_embedding`."""
        config, like = self.plain.config, self._like
        width = config.get("time_cond_proj_dim")
        if not config.get("guidance_embeds") and width is None:
            return {}
        scale = named.get("guidance")
        if scale is None:
            scale = torch.full((rows,), float(self.guidance_embedding), device=like.device)
        if width is None:
            return {"guidance": scale.float()}
        return {"timestep_cond": guidance_vector(scale.float(), width).to(like.dtype)}

    # --- hidden states ---

    def blocks(self) -> list[nn.Module]:
        """The blocks that `features` counts."""
        found: list[nn.Module] = []
        for name in self.family.blocks:
            part = getattr(self.plain, name)
            found += list(part) if isinstance(part, nn.ModuleList) else [part]
        return found

    def _watch(self, features: tuple[int, ...], watching: ExitStack) -> dict[int, Tensor]:
        """Hooks for one call, on this module's own blocks: copies and wrappers never carry any."""
        seen: dict[int, Tensor] = {}
        blocks = self.blocks() if features else []
        for index in dict.fromkeys(features):
            if not -len(blocks) <= index < len(blocks):
                raise ValueError(
                    f"features {index} does not exist; this {self.family.title} has blocks 0 to {len(blocks) - 1}"
                )

            def keep(module: nn.Module, inputs: Any, out: Any, index: int = index) -> None:
                state = out[self.family.hidden] if isinstance(out, tuple) else out
                seen[index] = state.transpose(1, 2) if state.ndim == 3 else state  # tokens (B, N, D) as (B, D, N)

            watching.callback(blocks[index].register_forward_hook(keep).remove)
        return seen

    # --- the network ---

    @property
    def plain(self) -> Any:
        """The diffusers model inside, adapters injected if there are any."""
        return self.network.get_base_model() if hasattr(self.network, "get_base_model") else self.network

    @property
    def _like(self) -> Tensor:
        """A parameter of the network's own, adapters apart: its device and type."""
        return next(p for name, p in self.network.named_parameters() if not is_adapter(name))

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "PipelineTeacher":
        """A network to train that starts as this one: all of it (`full`), or low-rank adapters on the same frozen
        weights (`lora`: rank, alpha, dropout, targets)."""
        if mode == "lora":
            return self.around(adapted(self.network, usual=self.family.lora, **options)).train()
        if options:
            raise TypeError(f"a full copy takes no options; got {', '.join(options)}")
        return self.around(merged(self.network)).train().requires_grad_(True)

    def around(self, network: nn.Module) -> "PipelineTeacher":
        """The same teacher around another network of the same kind."""
        return PipelineTeacher(
            network,
            self.family,
            self.schedule,
            self.space,
            self.prompts,
            guidance_embedding=self.guidance_embedding,
            source=self.source,
        )

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self.take_base_along(fn)
        super()._apply(fn, recurse)
        codec, device = self.space.codec, self._like.device
        if next(codec.parameters(), None) is not None and device.type != "meta":  # a skeleton needs no codec
            codec.to(device)  # follows to the device, never into half precision
        return self


__all__ = ["PipelineTeacher"]
