"""What is recorded of every objective: ONE table. When options are renamed or grouped, only this file is edited.

A case is (id, objective, options, problem) and, where they are not the usual ones, the fields of its batches, how many
steps are played, and the guidance of the teacher. Its id names its values in values.json: ids stay as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    id: str
    objective: str  # its registry name
    options: Mapping[str, Any]
    problem: str  # of problems.PROBLEMS
    batch: str  # fields of its batches
    steps: int = 2
    guidance: Mapping[str, Any] = field(default_factory=dict)  # arguments of limbeck.Guided; empty: none
    tolerance: float = 1e-9  # between processors, relative


# The fields that an objective reads.
BATCH = {
    "flow_matching": "x0 cond",
    "denoising": "x0 cond",
    "diffusion_forcing": "x0 cond",
    "consistency": "x0 cond",
    "comospeech": "x0 cond",
    "ode_pairs": "x0 noise cond",
    "mdlm": "x0 cond",
    "sdtt": "x0 cond",
    "dmd2": "noise cond",
    "self_forcing": "noise cond",
    "sds": "noise cond",
    "csd": "noise cond",
    "vsd": "noise cond",
    "ism": "noise cond",
    "language_modelling": "x0",
    **dict.fromkeys(("kd", "fkl", "rkl", "jsd", "gkd", "seq_kd"), "x0"),
}

CONTINUOUS = ("image", "clip", "sound")
TOKENS = ("tokens", "tokens-uniform")

# --- every objective on every problem that it runs on, with its own defaults: (objective, options, problems) ----------

EVERYWHERE: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("flow_matching", {}, (*CONTINUOUS, "view")),
    ("denoising", {}, (*CONTINUOUS, "view")),
    ("diffusion_forcing", {}, ("clip", "clip-frames")),
    ("consistency", {}, (*CONTINUOUS, "view", *TOKENS)),
    ("comospeech", {}, (*CONTINUOUS, "view", "sound-mel", "image-edm", "clip-edm")),
    ("ode_pairs", {}, (*CONTINUOUS, "view")),
    ("dmd2", {}, (*CONTINUOUS, "view", "scene", *TOKENS)),
    ("self_forcing", {}, ("clip", "clip-closed_form")),
    ("sds", {}, (*CONTINUOUS, "view", "scene", "scene-penalties", "scene-splats", "scene-image")),
    ("csd", {}, (*CONTINUOUS, "view", "scene")),
    ("vsd", {}, (*CONTINUOUS, "view", "scene", "scene-penalties", "scene-splats", "scene-image")),
    ("ism", {}, (*CONTINUOUS, "view", "scene", "scene-image")),
    ("mdlm", {}, ("tokens", "tokens-cosine")),
    ("sdtt", {"rounds.teacher_steps": 16, "rounds.student_steps": 8}, ("tokens", "tokens-cosine")),
    ("language_modelling", {}, ("language",)),
    ("kd", {}, ("language",)),
    ("fkl", {}, ("language",)),
    ("rkl", {}, ("language",)),
    ("jsd", {}, ("language",)),
    ("gkd", {}, ("language",)),
    ("seq_kd", {}, ("language",)),
]

# --- variants, one branch each: (what it is, objective, options, problem[, more fields of Case]) ----------------------

FLOAT32 = {"tolerance": 1e-5}  # where times (or norms of layers) are computed in float32 whatever the problem is in
FEW = {"critic.updates": 1}
GAN = {"discriminator.weight": 0.3, **FEW}
RAMP = {"start": 0.98, "end": 0.5, "steps": 2}

VARIANTS: list[tuple[Any, ...]] = [
    # dmd2: what stands for the student's distribution
    ("noise", "dmd2", {"field.subtract": "noise"}, "image"),
    ("null", "dmd2", {"field.subtract": "null"}, "image"),
    ("null guided", "dmd2", {"field.subtract": "null"}, "image", {"guidance": {"scale": 3.0}}),
    ("null on tokens", "dmd2", {"field.subtract": "null"}, "tokens"),
    ("guided", "dmd2", FEW, "image", {"guidance": {"scale": 2.5}}),
    ("guided in an interval", "dmd2", FEW, "image", {"guidance": {"scale": 2.5, "interval": (0.2, 0.7)}}),
    ("guided on tokens", "dmd2", FEW, "tokens", {"guidance": {"scale": 2.5}}),
    # dmd2: discriminator
    ("gan", "dmd2", GAN, "image", {"batch": "x0 noise cond"}),
    ("gan two features", "dmd2", {**GAN, "discriminator.features": (0, -1)}, "image-edm", {"batch": "x0 noise cond"}),
    (
        "gan",
        "dmd2",
        {**GAN, "discriminator.critic_weight": 0.5, "rollout.steps": 2},
        "clip",
        {"batch": "x0 noise cond"},
    ),
    ("gan", "dmd2", GAN, "sound", {"batch": "x0 noise cond"}),
    ("gan weighted", "dmd2", GAN, "image", {"batch": "x0 noise cond weight"}),
    # dmd2: rollouts
    ("two steps", "dmd2", {"rollout.steps": 2, **FEW}, "image", {"steps": 3}),
    ("two steps last", "dmd2", {"rollout.steps": 2, "rollout.exit": "last", **FEW}, "image"),
    ("two steps all", "dmd2", {"rollout.steps": 2, "rollout.exit": "last", "rollout.gradient": "all", **FEW}, "image"),
    ("three steps random all", "dmd2", {"rollout.steps": 3, "rollout.gradient": "all", **FEW}, "sound", {"steps": 3}),
    ("two steps", "dmd2", {"rollout.steps": 2, **FEW}, "image-shifted"),
    ("two steps", "dmd2", {"rollout.steps": 2, **FEW}, "image-edm"),
    ("two steps", "dmd2", {"rollout.steps": 2, **FEW}, "clip"),
    # dmd2: field
    ("not normalised", "dmd2", {"field.normalise": None, **FEW}, "image"),
    ("per frame", "dmd2", {"field.normalise": "frame", **FEW}, "clip"),
    ("weight sds", "dmd2", {"field.weight": "sds", **FEW}, "image"),
    ("weight uniform", "dmd2", {"field.weight": "uniform", **FEW}, "image"),
    ("weight fantasia3d", "dmd2", {"field.weight": "fantasia3d", **FEW}, "image"),
    ("weight placid_dreamer", "dmd2", {"field.weight": "placid_dreamer", **FEW}, "image-vp"),
    ("sum", "dmd2", {"field.reduction": "sum", **FEW}, "image"),
    ("mean", "dmd2", {"field.reduction": "mean", **FEW}, "scene"),
    ("clip", "dmd2", {"field.clip": 0.05, **FEW}, "image"),
    ("clip by pixel", "dmd2", {"field.clip": 0.05, "field.clip_by": "pixel", **FEW}, "view"),
    ("clip ramp", "dmd2", {"field.clip": {"start": 0.5, "end": 0.01, "steps": 2}, **FEW}, "image"),
    ("times", "dmd2", {"times.range": (0.2, 0.6), "critic.times.range": (0.1, 0.9), **FEW}, "image"),
    ("times ramp", "dmd2", {"times.range": (0.02, RAMP), "critic.times.range": (0.02, RAMP), **FEW}, "image"),
    ("weighted", "dmd2", FEW, "image", {"batch": "noise cond weight"}),
    # dmd2: critic
    ("critic x0", "dmd2", {"critic.loss": "x0", **FEW}, "image"),
    ("critic eps", "dmd2", {"critic.loss": "eps", **FEW}, "image"),
    ("critic v", "dmd2", {"critic.loss": "v", **FEW}, "image"),
    ("critic edm", "dmd2", {"critic.loss": "edm", **FEW}, "image-edm"),
    ("critic from generator", "dmd2", {"critic.init": "generator", **FEW}, "sound"),
    ("critic lora", "dmd2", {"critic.lora": {"rank": 2, "alpha": 4.0}, **FEW}, "sound"),
    (
        "critic lora head",
        "dmd2",
        {"critic.lora": {"rank": 1, "dropout": 0.3, "targets": ("leave",)}, **FEW},
        "sound",
    ),
    # dmd2: other processes and closed forms
    ("edm", "dmd2", FEW, "image-edm"),
    ("vp", "dmd2", FEW, "image-vp"),
    ("vp eps", "dmd2", FEW, "image-vp_eps"),
    ("vp_cosine", "dmd2", FEW, "image-vp_cosine"),
    ("trigflow", "dmd2", FEW, "image-trigflow"),
    ("closed form", "dmd2", FEW, "image-closed_form"),
    ("splats", "dmd2", FEW, "scene-splats"),
    ("mel", "dmd2", FEW, "sound-mel"),
    # dmd2: tokens
    ("reverse_kl", "dmd2", {"field.divergence": "reverse_kl", **FEW}, "tokens"),
    ("reverse_kl", "dmd2", {"field.divergence": "reverse_kl", **FEW}, "tokens-uniform"),
    ("elbo", "dmd2", {"critic.weight": "elbo", **FEW}, "tokens"),
    ("elbo cosine", "dmd2", {"critic.weight": "elbo", "rollout.random_tokens": 0.0, **FEW}, "tokens-cosine"),
    ("sum", "dmd2", {"field.reduction": "sum", **FEW}, "tokens"),
    # sds
    ("guided", "sds", {}, "image", {"guidance": {"scale": 7.5}}),
    ("guided", "sds", {"times.range": (0.5, 0.95)}, "scene", {"guidance": {"scale": 7.5}}),
    ("two steps", "sds", {"rollout.steps": 2}, "image"),
    ("mean", "sds", {"field.reduction": "mean"}, "scene-penalties"),
    ("null reduction", "sds", {"field.reduction": None}, "image"),
    (
        "clip by pixel ramp",
        "sds",
        {"field.clip": {"start": 0.1, "end": 0.01, "steps": 2}, "field.clip_by": "pixel"},
        "scene",
    ),
    ("weight uniform", "sds", {"field.weight": "uniform"}, "scene"),
    ("weight fantasia3d", "sds", {"field.weight": "fantasia3d"}, "scene-image"),
    ("weight x0", "sds", {"field.weight": "x0"}, "scene"),
    ("times ramp", "sds", {"times.range": (0.02, RAMP)}, "scene", {"steps": 3}),
    ("edm", "sds", {}, "image-edm"),
    ("weighted", "sds", {}, "scene", {"batch": "cond weight"}),
    # csd
    ("guided", "csd", {}, "image", {"guidance": {"scale": 5.0}}),
    ("guided", "csd", {"field.weight": "uniform"}, "scene", {"guidance": {"scale": 5.0, "interval": (0.1, 0.8)}}),
    ("two steps last", "csd", {"rollout.steps": 2, "rollout.exit": "last"}, "sound"),
    # vsd
    ("guided", "vsd", {}, "scene", {"guidance": {"scale": 4.0}}),
    ("two critic updates", "vsd", {"critic.updates": 2, "critic.loss": "velocity"}, "scene-image"),
    ("critic times", "vsd", {"times.range": (0.5, 0.95), "critic.times.range": (0.2, 0.95)}, "scene"),
    ("critic lora", "vsd", {"critic.lora": {"rank": 2}}, "sound"),
    ("critic from generator", "vsd", {"critic.init": "generator"}, "image"),
    ("edm", "vsd", {}, "image-edm"),
    # ism
    ("guided", "ism", {}, "scene", {"guidance": {"scale": 2.0}}),
    ("interval", "ism", {"times.range": (0.3, 0.4), "inversion.interval": 0.3}, "scene"),
    (
        "ramps",
        "ism",
        {"inversion.interval": {"start": 0.1, "end": 0.05, "steps": 2}, "times.range": (0.02, RAMP)},
        "image",
    ),
    ("one inversion step", "ism", {"inversion.steps": 1, "times.range": (0.02, 0.9)}, "image"),
    ("short strides", "ism", {"inversion.stride": 0.05, "times.range": (0.3, 0.9)}, "image-vp"),
    ("whole strides", "ism", {"times.range": (0.3, 0.65), "inversion.interval": 0.05}, "image"),
    ("weight sds", "ism", {"field.weight": "sds", "field.clip": 0.02}, "scene"),
    ("two steps", "ism", {"rollout.steps": 2, "field.reduction": "mean"}, "image"),
    ("edm", "ism", {}, "image-edm"),
    # self_forcing
    ("one step", "self_forcing", {"rollout.steps": 1, **FEW}, "clip"),
    (
        "two steps last all",
        "self_forcing",
        {"rollout.steps": 2, "rollout.exit": "last", "rollout.gradient": "all", **FEW},
        "clip",
    ),
    (
        "window",
        "self_forcing",
        {"rollout.steps": 2, "rollout.window": 2, "rollout.sink": 1, "rollout.chunk": 1, **FEW},
        "clip-frames",
    ),
    ("times", "self_forcing", {"rollout.steps": 2, "rollout.times": (0.95, 0.6), **FEW}, "clip"),
    ("shift", "self_forcing", {"rollout.steps": 2, "rollout.shift": 5.0, **FEW}, "clip"),
    ("context", "self_forcing", {"rollout.steps": 2, "rollout.context_time": 0.1, **FEW}, "clip"),
    ("tail", "self_forcing", {"rollout.steps": 2, "rollout.tail": 2, **FEW}, "clip"),
    ("gan", "self_forcing", {"rollout.steps": 2, **GAN}, "clip", {"batch": "x0 noise cond"}),
    ("per frame", "self_forcing", {"rollout.steps": 2, "field.normalise": "frame", **FEW}, "clip"),
    (
        "longer",
        "self_forcing",
        {"rollout.steps": 2, "rollout.frames": 8, "rollout.window": 3, **FEW},
        "clip-closed_form",
        {"steps": 4},
    ),
    ("noise", "self_forcing", {"rollout.steps": 2, "field.subtract": "noise"}, "clip"),
    ("guided", "self_forcing", {"rollout.steps": 2, **FEW}, "clip", {"guidance": {"scale": 2.0}}),
    ("edm", "self_forcing", {"rollout.steps": 2, **FEW}, "clip-edm"),
    # consistency: where the two states come from
    ("euler", "consistency", {"solver": "euler"}, "image"),
    ("ddim", "consistency", {"solver": "ddim"}, "image"),
    ("training", "consistency", {"mode": "training"}, "image"),
    ("trajectory", "consistency", {}, "image", {"batch": "xt cond"}),
    ("trajectory ratio", "consistency", {"times.schedule": "ratio"}, "image", {"batch": "xt cond"}),
    ("guided", "consistency", {}, "image", {"guidance": {"scale": 2.0}}),
    # consistency: times
    ("log_snr", "consistency", {"times.spacing": "log_snr", "times.nodes": 8}, "image"),
    ("karras", "consistency", {"times.spacing": "karras", "times.nodes": 8}, "image"),
    ("index log_normal", "consistency", {"times.kind": "log_normal"}, "image-edm"),
    (
        "ict",
        "consistency",
        {"mode": "training", "times.kind": "log_normal", "weight": "inverse_step", "metric.distance": "pseudo_huber"},
        "image-edm",
    ),
    (
        "ratio",
        "consistency",
        {"mode": "training", "times.schedule": "ratio", "times.ratio.stages": 2, "times.ratio.stage_steps": 1},
        "image-edm",
        {"steps": 3},
    ),
    (
        "ratio uniform",
        "consistency",
        {"times.schedule": "ratio", "times.kind": "uniform", "times.ratio.base": 4.0},
        "image",
    ),
    (
        "ratio logit_normal",
        "consistency",
        {"times.schedule": "ratio", "times.kind": "logit_normal", "times.mean": 0.3, "times.std": 0.8},
        "image",
    ),
    # consistency: distances, targets, boundaries
    ("l2", "consistency", {"metric.distance": "l2"}, "image"),
    ("huber elements", "consistency", {"metric.distance": "pseudo_huber_elements"}, "image"),
    ("huber c", "consistency", {"metric.huber_c": 0.05}, "image"),
    ("inverse_step", "consistency", {"weight": "inverse_step"}, "image"),
    ("target", "consistency", {"target.decay": 0.9}, "image", {"steps": 3}),
    ("sigma_min", "consistency", {"end.kind": "sigma_min", "times.spacing": "karras", "times.nodes": 4}, "image-edm"),
    ("sigma_min", "consistency", {"end.kind": "sigma_min", "times.spacing": "log_snr", "times.nodes": 4}, "image"),
    ("few nodes", "consistency", {"times.nodes": 2}, "image"),
    ("weighted", "consistency", {}, "image", {"batch": "x0 cond weight"}),
    ("masked", "consistency", {}, "sound", {"batch": "x0 cond loss_mask"}),
    ("masked counted", "consistency", {"metric.padding": "counted"}, "sound", {"batch": "x0 cond loss_mask"}),
    ("dropout", "consistency", {}, "sound-dropout"),
    ("two times", "consistency", {}, "sound-two_times"),
    # consistency: clips
    ("frames", "consistency", {"levels": "frame", "target.decay": 0.9}, "clip", {"steps": 3}),
    ("frames ratio", "consistency", {"levels": "frame", "times.schedule": "ratio"}, "clip", FLOAT32),
    ("chunks", "consistency", {"levels": "chunk", "mode": "training", "times.nodes": 4}, "clip"),
    ("chunks ddim", "consistency", {"levels": "chunk", "solver": "ddim"}, "clip"),
    # consistency: other processes
    ("edm", "consistency", {}, "image-edm"),
    ("vp", "consistency", {}, "image-vp"),
    ("trigflow", "consistency", {"solver": "euler"}, "image-trigflow"),
    ("mel", "consistency", {"solver": "ddim"}, "sound-mel"),
    ("shifted", "consistency", {}, "image-shifted"),
    # consistency: tokens
    ("kl_forward", "consistency", {"metric.divergence": "forward_kl"}, "tokens"),
    ("training", "consistency", {"mode": "training", "times.nodes": 4}, "tokens"),
    (
        "training",
        "consistency",
        {"mode": "training", "metric.divergence": "forward_kl", "times.nodes": 4},
        "tokens-uniform",
    ),
    ("inverse_step target", "consistency", {"weight": "inverse_step", "target.decay": 0.9}, "tokens", {"steps": 3}),
    ("masked", "consistency", {}, "tokens", {"batch": "x0 cond loss_mask attention_mask"}),
    ("weighted", "consistency", {}, "tokens", {"batch": "x0 cond weight"}),
    # comospeech
    ("fewer levels", "comospeech", {"times.nodes": 6, "solver": "euler"}, "sound", {"steps": 3}),
    ("masked counted", "comospeech", {"metric.padding": "counted"}, "sound", {"batch": "x0 cond loss_mask"}),
    ("no target", "comospeech", {"target.decay": 0.0, "end.kind": "zero"}, "sound"),
    ("flow", "comospeech", {}, "sound-flow"),
    # denoising, flow_matching
    ("x0", "denoising", {"error": "x0"}, "image"),
    ("eps", "denoising", {"error": "eps"}, "image"),
    ("v", "denoising", {"error": "v"}, "image-trigflow"),
    ("velocity", "denoising", {"error": "velocity", "times.kind": "logit_normal"}, "image"),
    ("uniform", "denoising", {"times.kind": "uniform", "times.range": (0.1, 0.9), "sigma_data": 0.7}, "image-edm"),
    ("dropout", "denoising", {"label_dropout": 0.5}, "image"),
    ("views dropout", "denoising", {"label_dropout": 0.5}, "view"),
    ("edm", "denoising", {}, "image-edm"),
    ("vp", "denoising", {}, "image-vp"),
    ("vp eps", "denoising", {"error": "eps", "times.kind": "uniform"}, "image-vp_eps"),
    ("vp_cosine", "denoising", {}, "image-vp_cosine"),
    ("mel", "denoising", {}, "sound-mel"),
    ("weighted", "denoising", {}, "image", {"batch": "x0 cond weight"}),
    ("reflow", "flow_matching", {}, "image", {"batch": "x0 noise cond"}),
    ("reflow edm", "flow_matching", {}, "image-edm", {"batch": "x0 noise cond"}),
    ("logit_normal", "flow_matching", {"times.kind": "logit_normal", "times.mean": 0.5, "times.std": 0.7}, "image"),
    ("log_normal", "flow_matching", {"times.kind": "log_normal", "label_dropout": 0.3}, "image"),
    ("unconditional", "flow_matching", {}, "image", {"batch": "x0"}),
    ("shifted", "flow_matching", {}, "image-shifted"),
    # diffusion_forcing
    ("chunks", "diffusion_forcing", {"levels": "chunk"}, "clip"),
    ("chunk of one", "diffusion_forcing", {"levels": "chunk", "chunk": 1}, "clip"),
    ("clip", "diffusion_forcing", {"levels": "clip"}, "clip"),
    ("clean context", "diffusion_forcing", {"clean_context": 0.7}, "clip"),
    ("clip clean context", "diffusion_forcing", {"levels": "clip", "clean_context": 0.7}, "clip"),
    ("edm", "diffusion_forcing", {"error": "edm", "times.kind": "log_normal", "times.mean": -1.2}, "clip-edm", FLOAT32),
    ("eps", "diffusion_forcing", {"error": "eps", "label_dropout": 0.5, "times.range": (0.1, 0.9)}, "clip"),
    ("reflow", "diffusion_forcing", {"error": "x0"}, "clip", {"batch": "x0 noise cond"}),
    # ode_pairs
    ("l2", "ode_pairs", {"metric.distance": "l2"}, "image"),
    ("huber elements", "ode_pairs", {"metric.distance": "pseudo_huber_elements", "metric.huber_c": 0.1}, "sound"),
    ("weighted", "ode_pairs", {}, "image-edm", {"batch": "x0 noise cond weight"}),
    # mdlm, sdtt
    ("independent times", "mdlm", {"times.antithetic": False}, "tokens"),
    ("times", "mdlm", {"times.range": (0.3, 0.8)}, "tokens"),
    ("masked", "mdlm", {}, "tokens", {"batch": "x0 cond loss_mask attention_mask"}),
    ("weighted", "mdlm", {}, "tokens", {"batch": "x0 cond weight"}),
    *(
        (name, "sdtt", {"rounds.teacher_steps": 8, "rounds.student_steps": 4, "metric.divergence": kind}, "tokens")
        for name, kind in (("kl_forward", "forward_kl"), ("tvd", "tvd"), ("mse", "mse"))
    ),
    (
        "rounds",
        "sdtt",
        {"rounds.teacher_steps": 16, "rounds.student_steps": 2, "rounds.steps": 1},
        "tokens",
        {"steps": 4},
    ),
    (
        "rounds average",
        "sdtt",
        {
            "rounds.teacher_steps": 16,
            "rounds.student_steps": 4,
            "rounds.steps": 2,
            "rounds.decay": 0.6,
            "target.temperature": 0.9,
        },
        "tokens",
        {"steps": 5},
    ),
    (
        "uniform time",
        "sdtt",
        {"rounds.teacher_steps": 16, "rounds.student_steps": 4, "rounds.sub_steps": 4, "times.kind": "uniform"},
        "tokens",
    ),
    (
        "masked",
        "sdtt",
        {"rounds.teacher_steps": 8, "rounds.student_steps": 4},
        "tokens",
        {"batch": "x0 cond loss_mask attention_mask"},
    ),
    ("weighted", "sdtt", {"rounds.teacher_steps": 8, "rounds.student_steps": 4}, "tokens", {"batch": "x0 cond weight"}),
    # language
    *(
        variant
        for name in ("kd", "fkl", "rkl", "jsd", "gkd", "seq_kd", "language_modelling")
        for variant in (
            ("masked", name, {}, "language", {"batch": "x0 loss_mask attention_mask"}),
            ("float32", name, {}, "language-float32", {"batch": "x0 attention_mask"}),
        )
    ),
    *(("weighted", name, {}, "language", {"batch": "x0 weight loss_mask"}) for name in ("kd", "fkl", "rkl", "jsd")),
    ("soft", "kd", {"divergence": {"weight": 0.9, "temperature": 2.0}, "ce_weight": 1 - 0.9}, "language"),
    ("soft", "fkl", {"divergence": {"temperature": 2.0}, "ce_weight": 0.3}, "language"),
    ("chunk", "fkl", {"chunk": 3}, "language"),
    ("soft", "rkl", {"divergence": {"temperature": 0.7}, "ce_weight": 0.3, "chunk": 5}, "language"),
    ("beta", "jsd", {"divergence": {"beta": 0.1, "temperature": 1.5}}, "language"),
    ("beta 0", "jsd", {"divergence": {"beta": 0.0}}, "language"),
    ("beta 1", "jsd", {"divergence": {"beta": 1.0}}, "language"),
    ("beta", "gkd", {"divergence": {"beta": 0.9}, "ce_weight": 0.2, "student_fraction": 1.0}, "language"),
    ("chunk", "seq_kd", {"chunk": 4}, "language"),
]


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """`{"critic.updates": 1}` -> `{"critic": {"updates": 1}}`: options are written by their paths."""
    found: dict[str, Any] = {}
    for path, value in options.items():
        *blocks, name = path.split(".")
        here = found
        for block in blocks:
            here = here.setdefault(block, {})
        here[name] = value
    return found


def cases() -> Iterator[Case]:
    def usual(objective: str, problem: str) -> dict[str, Any]:
        return {"batch": BATCH[objective], **(FLOAT32 if "language" in problem else {})}

    for objective, options, problems in EVERYWHERE:
        for problem in problems:
            yield Case(f"{objective} on {problem}", objective, nested(options), problem, **usual(objective, problem))
    for what, objective, options, problem, *more in VARIANTS:
        fields = {**usual(objective, problem), **(more[0] if more else {})}
        yield Case(f"{objective} on {problem}: {what}", objective, nested(options), problem, **fields)


# --- samplers: (what it is, sampler, options, problem, steps[, guidance]); streaming and orbit take the student -------

WALKS: list[tuple[Any, ...]] = [
    ("plain", "euler", {}, "image", 4),
    ("guided", "euler", {}, "image", 4, {"scale": 2.0}),
    ("guided in an interval", "euler", {"spacing": "log_snr"}, "image", 4, {"scale": 2.0, "interval": (0.2, 0.7)}),
    ("angle", "euler", {"chart": "angle"}, "image", 4),
    ("karras", "euler", {"spacing": "karras", "rho": 5.0, "sigma_min": 0.01, "sigma_max": 20.0}, "image-edm", 4),
    *(
        ("plain", name, {}, problem, 4)
        for name in ("heun", "ddim", "dpmpp_2m", "edm_stochastic", "multistep")
        for problem in ("image", "image-edm", "image-vp", "image-trigflow", "image-shifted")
    ),
    ("log_snr", "heun", {"spacing": "log_snr"}, "image", 4),
    ("first order", "dpmpp_2m", {"order": 1}, "image", 4),
    ("log_snr", "dpmpp_2m", {"spacing": "log_snr"}, "image", 5),
    ("churn", "edm_stochastic", {"s_churn": 10.0, "s_min": 0.1, "s_max": 5.0, "s_noise": 1.0}, "image-edm", 5),
    ("ddim", "multistep", {"transition": "ddim"}, "image", 3),
    ("times", "multistep", {"times": (0.9, 0.5, 0.2)}, "image", 3),
    ("one step", "multistep", {}, "sound", 1),
    ("views", "heun", {}, "view", 3),
    ("plain", "streaming", {}, "clip", 2),
    ("longer", "streaming", {"frames": 8, "window": 2, "sink": 2, "context_time": 0.1}, "clip-float32", 2),
    ("ahead", "streaming", {"frames": 6, "window": 3, "shift": 5.0}, "clip-closed_form", 2),
    ("ddim times", "streaming", {"transition": "ddim", "times": (1.0, 0.6, 0.3), "chunk": 2}, "clip", 3),
    ("pyramid", "diffusion_forcing", {}, "clip", 4),
    ("whole", "diffusion_forcing", {"uncertainty": 0.0}, "clip", 4),
    ("autoregressive", "diffusion_forcing", {"uncertainty": "autoregressive", "context_time": 0.1}, "clip", 3),
    ("chunks", "diffusion_forcing", {"uncertainty": 0.5, "chunk": 2}, "clip-edm", 4),
    *(
        ("plain", name, {}, problem, steps)
        for name, steps in (("ancestral", 4), ("one_call", 1))
        for problem in ("tokens", "tokens-uniform")
    ),
    ("alpha", "ancestral", {"spacing": "alpha", "temperature": 0.7, "top_p": 0.8}, "tokens-cosine", 4),
    ("greedy", "ancestral", {"temperature": 0.0}, "tokens", 3),
    ("guided", "ancestral", {}, "tokens", 4, {"scale": 2.0}),
    ("masks only", "one_call", {"random_tokens": 0.0, "temperature": 0.5, "top_p": 0.9}, "tokens", 1),
    ("plain", "confidence", {}, "tokens", 4),
    ("noise", "confidence", {"noise": 2.0, "temperature": 0.8, "top_p": 0.9}, "tokens", 3),
    ("plain", "text/autoregressive", {}, "language", 6),
    ("nucleus", "text/autoregressive", {"temperature": 0.7, "top_p": 0.5, "stop": False}, "language", 6),
    ("greedy", "text/autoregressive", {"temperature": 0.0}, "language", 4),
    ("plain", "3d/orbit", {}, "scene", 1),
    ("particles", "3d/orbit", {}, "scene-penalties", 1),
]

# --- sources: (what it is, source, options, problem) ------------------------------------------------------------------

SOURCES: list[tuple[str, str, dict[str, Any], str]] = [
    ("shuffled", "data", {}, "image-float32"),
    ("in order", "data", {"shuffle": False}, "image-float32"),
    ("views", "data", {}, "view"),
    ("plain", "prior", {}, "image-float32"),
    ("tokens", "prior", {}, "tokens"),
    ("heun", "trajectory", {"steps": 4}, "image-float32"),
    ("euler", "trajectory", {"sampler": "euler", "steps": 3}, "image-float32"),
    ("dpmpp_2m", "trajectory", {"sampler": "dpmpp_2m", "steps": 3}, "image-float32"),
    ("ddim", "trajectory", {"sampler": "ddim", "steps": 3}, "clip-float32"),
    ("heun", "pairs", {"count": 6, "chunk": 4, "steps": 3}, "image-float32"),
    ("seed", "pairs", {"count": 5, "chunk": 5, "steps": 3, "sampler": "ddim", "seed": 3}, "image-float32"),
    ("one step", "student", {}, "image-float32"),
    ("two steps", "student", {"steps": 2}, "image-float32"),
    ("always", "text/on_policy", {"prompt": 3, "length": 4}, "language-float32"),
    ("sometimes", "text/on_policy", {"prompt": 3, "student_fraction": 0.5, "temperature": 0.5}, "language-float32"),
    ("stored", "text/teacher_text", {"count": 6, "chunk": 4, "prompt": 3}, "language-float32"),
    ("new ones", "text/teacher_text", {"count": 0, "prompt": 3, "length": 4, "top_p": 0.8}, "language-float32"),
]
