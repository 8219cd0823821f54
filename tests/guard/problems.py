"""Small problems that every objective can be recorded on: an image, a clip, a sound, scenes, tokens, language.

Public names only, and components by their registry names, so that files may move. What a problem needs beside them is
written here. Weights are drawn by the names of the parameters, not by the order in which a constructor makes them.
Letters: B rows, C channels, F frames, H W pixels, L sequence, V vocabulary, D width.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

import limbeck
from limbeck.testing import AR1, CausalNetwork, CausalToy, GaussianGenerator, GaussianTeacher, TinyNetwork

ROWS = 4
CLASSES = 3
VOCAB = 5


@dataclass(frozen=True)
class Problem:
    """Partners that fit each other. `make_generator` and `make_teacher` build afresh, in `dtype`."""

    make_generator: Callable[[], nn.Module]
    make_teacher: Callable[[], nn.Module]
    data: limbeck.Data
    dtype: torch.dtype = torch.float64

    def generator(self) -> Any:
        return self.make_generator().to(self.dtype)

    def teacher(self) -> Any:
        return self.make_teacher().to(self.dtype).freeze()


def filled(module: nn.Module, seed: int) -> nn.Module:
    """The same module with weights of order 1 / sqrt(inputs), those of norms around 1."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            digest = hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=4).digest()
            drawn = torch.randn(
                parameter.shape,
                generator=torch.Generator().manual_seed(int.from_bytes(digest, "little")),
                dtype=torch.float64,
            )
            if parameter.ndim > 1:
                drawn = drawn / math.sqrt(parameter[0].numel())
            else:
                drawn = 0.1 * drawn + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
            parameter.copy_(drawn)
    return module


def moved(module: nn.Module, seed: int, scale: float = 0.1) -> nn.Module:
    """The same module, its parameters a little away from where its constructor puts them."""
    start = {name: parameter.detach().half() for name, parameter in module.named_parameters()}
    filled(module, seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(start[name] + scale * parameter)
    return module


# --- data ------------------------------------------------------------------------------------------------------------


class Blobs(limbeck.Data):
    """Continuous examples around one mean per class."""

    def __init__(
        self, event: Sequence[int], *, labels: tuple[int, ...] = (), domain: str = "vector", dtype=torch.float64
    ):
        self.space, self.labels, self.dtype = limbeck.Space(tuple(event), domain), labels, dtype

    def __len__(self) -> int:
        return 16

    def batch(self, indices: Tensor) -> limbeck.Batch:
        label = indices % CLASSES
        x0 = limbeck.rng(11).normal("guard data", (16, *self.space.event), torch.float64)[indices]
        shift = (label.double() - 1).reshape(-1, *[1] * len(self.space.event))
        return limbeck.Batch(x0=(0.4 * x0 + 0.5 * shift).to(self.dtype), cond=label)

    def split(self, name: Literal["train", "held_out"]) -> limbeck.Data:
        return self


class Views(limbeck.Data):
    """Small pictures seen by cameras: conditions are the camera, the background and a text of two words."""

    def __init__(self, event: Sequence[int]):
        self.space = limbeck.Space(tuple(event), "renders")

    def __len__(self) -> int:
        return 16

    def batch(self, indices: Tensor) -> limbeck.Batch:
        rng = limbeck.rng(12)
        angle, height, far, wide = rng.uniform("guard cameras", (16, 4), torch.float64).T
        cond = limbeck.Conditions(
            azimuth=360 * angle,
            elevation=60 * height - 15,
            distance=3 + 0.4 * far,
            fov=38 + 6 * wide,
            background=2 * rng.uniform("guard background", (16, 3), torch.float64) - 1,
            text=1 + rng.integers("guard text", CLASSES, (16, 2)),
        )
        x0 = 0.5 * rng.normal("guard views", (16, *self.space.event), torch.float64)
        return limbeck.Batch(x0=x0[indices], cond=cond[indices])

    def split(self, name: Literal["train", "held_out"]) -> limbeck.Data:
        return self


class Tokens(limbeck.Data):
    """Sequences of tokens; labels as conditions, or none."""

    def __init__(self, vocab: int, length: int, *, labels: bool = True):
        self.space, self.vocab, self.labels = limbeck.Space((length,), "tokens"), vocab, labels

    def __len__(self) -> int:
        return 16

    def batch(self, indices: Tensor) -> limbeck.Batch:
        x0 = limbeck.rng(13).integers("guard tokens", self.vocab, (16, *self.space.event))[indices]
        return limbeck.Batch(x0=x0, cond=indices % CLASSES if self.labels else None)

    def split(self, name: Literal["train", "held_out"]) -> limbeck.Data:
        return self


# --- networks --------------------------------------------------------------------------------------------------------


def clock(time: Tensor, like: Tensor) -> Tensor:
    """Smooth numbers of a time, (B, 6)."""
    phase = time.to(like.dtype)[:, None] * 0.5 * math.pi * 2.0 ** torch.arange(3, dtype=like.dtype)
    return torch.cat([phase.cos(), phase.sin()], 1)


class Convolutions(nn.Module):
    """Three convolutions, (B, C, H, W) in and out, that know a label or a view; features are maps (B, D, H, W)."""

    def __init__(self, channels: int, width: int = 8, *, views: bool = False):
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.between = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)
        self.time = nn.Linear(6, width)
        self.labels = nn.Embedding(CLASSES + 1, width)
        self.view = nn.Linear(6, width) if views else None

    def forward(self, x: Tensor, time: Tensor, cond: Any = None, *, features: Sequence[int] = ()) -> Any:
        embedding = self.time(clock(time, x))
        if isinstance(cond, limbeck.Conditions):
            angle = torch.deg2rad(torch.stack([cond["azimuth"], cond["elevation"], cond["fov"]], 1)).to(x.dtype)
            assert self.view is not None
            embedding = embedding + self.labels(cond["text"]).sum(1)
            embedding = embedding + self.view(torch.cat([angle.cos(), angle.sin()], 1))
        elif cond is not None:
            embedding = embedding + self.labels(cond)
        first = nn.functional.silu(self.enter(x) + embedding[:, :, None, None])
        second = first + nn.functional.silu(self.between(first))
        out = self.leave(second)
        return (out, tuple((first, second)[k] for k in features)) if features else out


class ViewDenoiser(limbeck.Denoiser):
    """Its unconditional input keeps the camera and drops the text."""

    def null(self, cond: Any) -> Any:
        return cond.but(text=torch.zeros_like(cond["text"]))


class LowRank(nn.Module):
    """A frozen linear layer and a low-rank update of it."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float, dropout: float):
        super().__init__()
        self.layer, self.scale, self.dropout = layer.requires_grad_(False), scale, dropout
        self.down = nn.Parameter(layer.weight.new_zeros(rank, layer.in_features))
        self.up = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.dropout(x, self.dropout, self.training)
        return self.layer(x) + self.scale * (inner @ self.down.T) @ self.up.T


class Adaptable(limbeck.Denoiser):
    """A denoiser that can be copied with low-rank adapters on the layers that are asked for."""

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> Any:
        copied = super().trainable_copy("full")
        if mode == "full":
            return copied
        copied.requires_grad_(False)
        for name in options["targets"] or ("enter", "leave"):
            layer = LowRank(
                getattr(copied.network, name), options["rank"], options["alpha"] / options["rank"], options["dropout"]
            )
            setattr(copied.network, name, _away_from_zero(layer))
        return copied


def _away_from_zero(layer: LowRank) -> LowRank:
    """Adapters in which both factors have gradients."""
    base = {name: value.clone() for name, value in layer.layer.state_dict().items()}
    filled(layer, 7)
    layer.layer.load_state_dict(base)
    return layer


class TokenNetwork(limbeck.Predictor):
    """Logits (B, L, V) of tokens on a categorical process, from all positions, the time and a label."""

    def __init__(self, process: Any, length: int, width: int = 8):
        super().__init__()
        self.process, self.space = process, limbeck.Space((length,), "tokens")
        self.embedding = nn.Embedding(process.states, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.mix = nn.Linear(length, length)
        self.time = nn.Linear(6, width)
        self.labels = nn.Embedding(CLASSES + 1, width)
        self.between = nn.Linear(width, width)
        self.leave = nn.Linear(width, process.vocab)

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> limbeck.Prediction:
        h = self.embedding(xt) + self.places
        h = h + self.time(clock(t, h))[:, None]
        if cond is not None and cond.ndim == 1:  # otherwise a prompt, which samplers keep in xt
            h = h + self.labels(cond)[:, None]
        h = h + nn.functional.silu(self.mix(h.transpose(1, 2)).transpose(1, 2))
        h = h + nn.functional.silu(self.between(h))
        return limbeck.Prediction(logits=self.leave(h), features=tuple(h for _ in features))

    def null(self, cond: Any) -> Any:
        return torch.full_like(cond, CLASSES)


# --- problems --------------------------------------------------------------------------------------------------------

IMAGE, SOUND, CLIP, VIEW = (1, 4, 4), (1, 6, 5), (4, 1, 2, 2), (3, 8, 8)


def _image(process: Any, prediction: str = "velocity", dtype: torch.dtype = torch.float64) -> Problem:
    def make(seed: int) -> nn.Module:
        network = filled(Convolutions(IMAGE[0]), seed)
        return limbeck.Denoiser(network, process, limbeck.Space(IMAGE, "pixels"), prediction=prediction, null=CLASSES)

    return Problem(lambda: make(1), lambda: make(2), Blobs(IMAGE, domain="pixels", dtype=dtype), dtype)


def _sound(process: Any, prediction: str = "edm", two_times: bool = False, dropout: bool = False) -> Problem:
    def make(seed: int) -> nn.Module:
        network: nn.Module = TinyNetwork(SOUND, width=12, depth=2, classes=CLASSES, two_times=two_times)
        if dropout:
            network.layers.insert(0, nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 12)))
        return Adaptable(
            filled(network, seed), process, limbeck.Space(SOUND, "mel"), prediction=prediction, null=CLASSES,
            two_times=two_times,
        )  # fmt: skip

    return Problem(lambda: make(3), lambda: make(4), Blobs(SOUND, domain="mel"))


def _mel() -> Problem:
    """The plugin's own network, on the means of its own digits."""

    def make(seed: int) -> nn.Module:
        options = {"channels": (8, 8), "embedding": 8, "patch": 8, "attention": (1,)}
        return filled(limbeck.create("generator", "audio/mel", process="edm", prior_mean=True, **options), seed)

    return Problem(lambda: make(5), lambda: make(6), Blobs(make(5).space.event, domain="mel"))


def _clip(process: Any, prediction: str = "velocity", chunk: int = 2, dtype: torch.dtype = torch.float64) -> Problem:
    """A causal student of a bidirectional teacher."""

    def make(seed: int, chunk: int | None) -> nn.Module:
        network = filled(CausalNetwork(CLIP, width=8, depth=2, classes=CLASSES, chunk=chunk), seed)
        return limbeck.Denoiser(network, process, limbeck.Space(CLIP, "clip"), prediction=prediction, null=CLASSES)

    return Problem(lambda: make(7, chunk), lambda: make(8, None), Blobs(CLIP, domain="clip", dtype=dtype), dtype)


def _clip_closed_form() -> Problem:
    """Sequences in closed form, whose rollouts may be longer than the clip; float32 where a draw is."""
    flow, event = limbeck.RectifiedFlow(), (4, 2)
    return Problem(
        lambda: CausalToy(flow, event, first=0.9, gain=0.6, carry=0.5, chunk=1, domain="clip"),
        lambda: AR1(flow, event, correlation=0.8, domain="clip"),
        Blobs(event, domain="clip"),
    )


def _image_closed_form() -> Problem:
    flow, event = limbeck.RectifiedFlow(), (1, 2, 2)
    a = torch.tensor([[1.0, 0, 0, 0], [0.3, 0.9, 0, 0], [0.1, 0.2, 0.8, 0], [0, 0.1, 0.3, 0.7]], dtype=torch.float64)
    mean = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(event)
    means = torch.stack([mean - 0.5, mean, mean + 0.5])
    return Problem(
        lambda: GaussianGenerator(flow, 0.5 * mean, 1.2 * a, class_means=0.4 * means, space=limbeck.Space(event)),
        lambda: GaussianTeacher(flow, mean, covariance=a @ a.T, class_means=means, space=limbeck.Space(event)),
        Blobs(event),
    )


def _scene(name: str, process: Any, **options: Any) -> Problem:
    def scene() -> nn.Module:
        limbeck.rng(21, phase="scene").seed_globally()
        return moved(limbeck.create("generator", f"3d/{name}", size=VIEW[1], **options), 9)

    def teacher() -> nn.Module:
        network = filled(Convolutions(VIEW[0], views=True), 10)
        return ViewDenoiser(network, process, limbeck.Space(VIEW, "renders"))

    return Problem(scene, teacher, Views(VIEW))


def _view() -> Problem:
    """The teacher's own kind as the student: pictures under cameras."""

    def make(seed: int) -> nn.Module:
        network = filled(Convolutions(VIEW[0], views=True), seed)
        return ViewDenoiser(network, limbeck.RectifiedFlow(), limbeck.Space(VIEW, "renders"))

    return Problem(lambda: make(15), lambda: make(10), Views(VIEW))


def _tokens(process: Any) -> Problem:
    def make(seed: int) -> nn.Module:
        return filled(TokenNetwork(process, 6), seed)

    return Problem(lambda: make(11), lambda: make(12), Tokens(VOCAB, 6))


def _language(dtype: torch.dtype = torch.float64) -> Problem:
    def make(seed: int, hidden: int) -> nn.Module:
        return filled(limbeck.create("generator", "text/pydocs_lm", hidden=hidden, layers=1, heads=2), seed)

    return Problem(lambda: make(13, 8), lambda: make(14, 16), Tokens(4096, 10, labels=False), dtype)


VOXELS = {"grid": 6, "samples": 6}
PENALTIES = {
    "opacity": 0.5, "entropy": 0.1, "tv_density": 0.2, "tv_color": 0.1, "sparsity": 0.3, "distortion": 0.2,
    "border": 0.4,
}  # fmt: skip

PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "image": lambda: _image(limbeck.RectifiedFlow()),
    "image-float32": lambda: _image(limbeck.RectifiedFlow(), dtype=torch.float32),
    "image-shifted": lambda: _image(limbeck.RectifiedFlow(shift=3.0)),
    "image-edm": lambda: _image(limbeck.EDM(), "edm"),
    "image-vp": lambda: _image(limbeck.VP(), "v"),
    "image-vp_eps": lambda: _image(limbeck.VP(), "eps"),
    "image-vp_cosine": lambda: _image(limbeck.VPCosine(), "v"),
    "image-trigflow": lambda: _image(limbeck.TrigFlow(), "v"),
    "image-closed_form": _image_closed_form,
    "clip": lambda: _clip(limbeck.RectifiedFlow()),
    "clip-float32": lambda: _clip(limbeck.RectifiedFlow(), dtype=torch.float32),
    "clip-frames": lambda: _clip(limbeck.RectifiedFlow(), chunk=1),
    "clip-edm": lambda: _clip(limbeck.EDM(), "edm"),
    "clip-closed_form": _clip_closed_form,
    "sound": lambda: _sound(limbeck.EDM()),
    "sound-flow": lambda: _sound(limbeck.RectifiedFlow(), "velocity"),
    "sound-two_times": lambda: _sound(limbeck.RectifiedFlow(), "velocity", two_times=True),
    "sound-dropout": lambda: _sound(limbeck.RectifiedFlow(), "velocity", dropout=True),
    "sound-mel": _mel,
    "scene": lambda: _scene("voxels", limbeck.RectifiedFlow(), **VOXELS),
    "scene-penalties": lambda: _scene("voxels", limbeck.VPCosine(), bounds="ball", particles=2, **VOXELS, **PENALTIES),
    "scene-splats": lambda: _scene("splats", limbeck.RectifiedFlow(), count=8, opacity=0.3, size_prior=0.2, inside=0.1),
    "scene-image": lambda: _scene("image", limbeck.VP(), particles=2, bounded=True),
    "view": _view,
    "tokens": lambda: _tokens(limbeck.MaskedProcess(VOCAB)),
    "tokens-cosine": lambda: _tokens(limbeck.MaskedProcess(VOCAB, "cosine")),
    "tokens-uniform": lambda: _tokens(limbeck.UniformProcess(VOCAB)),
    "language": _language,
    "language-float32": lambda: _language(torch.float32),
}

# --- batches ---------------------------------------------------------------------------------------------------------


def batch(problem: Problem, names: str, rng: limbeck.Rng, generator: Any, rows: int = ROWS) -> limbeck.Batch:
    """A batch with the fields in `names` (words): x0 cond noise xt weight, and attention_mask loss_mask."""
    wanted = set(names.split())
    real = problem.data.batch(rng.integers("guard rows", len(problem.data), (rows,)))
    process, event = getattr(generator, "process", None), problem.data.space.event
    found: dict[str, Any] = {"x0": real.x0, "cond": real.cond}
    if process is None:  # a scene, a language model: there is no noise
        wanted -= {"noise"}
    if wanted & {"noise", "xt"}:
        if isinstance(process, limbeck.GaussianProcess):
            noise = process.prior_std * rng.normal("guard noise", (rows, *event), torch.float64).to(problem.dtype)
        else:
            noise = process.prior_sample((rows, *event), rng, "guard noise")
        found["noise"] = noise
    if "xt" in wanted:
        t = process.t_max * (0.1 + 0.8 * rng.uniform("guard t", (rows,), torch.float64))
        eps = rng.normal("guard eps", (rows, *event), torch.float64).to(problem.dtype)
        found |= {"xt": process.add_noise(real.x0, eps, t), "t": t}
        wanted.add("t")
    if "weight" in wanted:
        ramp = torch.arange(1.0, rows + 1, dtype=torch.float64)
        found["weight"] = ramp / ramp.sum()
    length = event[-1]
    if "loss_mask" in wanted:  # the first elements of the last axis are not learned, ever more of them
        begin = torch.arange(rows) % (length - 2)
        mask = torch.arange(length) >= begin[:, None]
        found["loss_mask"] = mask.reshape(rows, *[1] * (len(event) - 1), length)
    if "attention_mask" in wanted:  # padding at the end of odd rows
        found["attention_mask"] = torch.arange(length) < length - torch.arange(rows)[:, None] % 2
    return limbeck.Batch(**{name: value for name, value in found.items() if name in wanted})
