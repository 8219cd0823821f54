"""What a plugin declares about itself. Imports neither torch nor pydantic: this is what `limbeck plugins` reads.

A plugin's entry point (group `limbeck.plugins`) names a light module that holds

    from limbeck.manifest import Component, hookimpl

    LIMBECK_API = 1

    @hookimpl
    def components():
        return [Component("objective", "my_loss", "my_package.losses:MyLoss", summary="...", needs=...)]
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import pluggy

LIMBECK_API = 1  # the plugin contract of this Limbeck; a manifest states the one it was written for

hookimpl = pluggy.HookimplMarker("limbeck")
hookspec = pluggy.HookspecMarker("limbeck")

KINDS = {
    "objective": "turns (generator, teacher, batch) into losses",
    "teacher": "a frozen model to distil from",
    "generator": "what is trained",
    "data": "real examples, with a held-out split",
    "source": "where training batches come from: data, prior, teacher trajectory, stored pairs, student",
    "sampler": "walks a generator or a teacher from noise to data",
    "metric": "judges samples",
    "view": "turns samples of one domain into a picture, for grids and reports",
    "callback": "hooks into a run",
    "exporter": "writes a student as an ordinary artefact",
    "panel": "adds a section to the reports of its modality",
    "recipe": "a YAML file with everything a run needs",
}

# The one vocabulary of what an objective may ask for and a component may offer. Words marked (reserved) are fixed
# now and implemented when the first method needs them.
ABILITIES = {
    "gaussian": "lives on a Gaussian process (continuous noise)",
    "categorical": "lives on a categorical process (masked or uniform tokens)",
    "denoiser": "predicts x0 (or token logits) at any time",
    "flow_map": "maps x_t to x_s for any s < t",
    "samples": "holds real samples",
    "conditions": "can draw conditions (labels, prompts)",
    "held_out": "has a held-out split",
    "features": "returns hidden features on request",
    "trainable_copy": "can be copied for training (a critic, a student)",
    "null_condition": "knows its unconditional input, so guidance works",
    "flow_map_time": "accepts a second time s",
    "sampling": "produces samples that carry gradients: a rollout of few calls, or a render",
    "log_probs": "gives log-probabilities of the next token",
    "generates": "continues a prompt, token by token",
    "renders": "renders through cameras",
    "codec": "encodes to and decodes from a latent space",
    "cache": "causal: goes on from finished frames by an explicit cache",
    "cache_ahead": "writes finished frames and begins the next chunk in one call",
    "frame_time": "accepts one time per frame, (B, F)",
    "forward_mode": "supports forward-mode derivatives (JVP)",
    "reward": "scores samples (reserved)",
    "trajectory": "yields stored teacher trajectories",
    "pairs": "yields stored (noise, sample) pairs",
    "streams": "state is a mapping of streams with several clocks (reserved)",
    "experts": "different networks for different time ranges (reserved)",
    "attention_spec": "attention can be masked or replaced (reserved)",
    "start_policy": "trajectory may start elsewhere than at pure noise (reserved)",
}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Abilities that an objective needs of its partners: checked before weights load."""

    generator: Set[str] = frozenset()
    teacher: Set[str] = frozenset()
    data: Set[str] = frozenset()

    def __post_init__(self):
        for role in ("generator", "teacher", "data"):
            object.__setattr__(self, role, frozenset(getattr(self, role)))

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            generator=self.generator | other.generator,
            teacher=self.teacher | other.teacher,
            data=self.data | other.data,
        )

    def by_role(self) -> dict[str, Set[str]]:
        return {"generator": self.generator, "teacher": self.teacher, "data": self.data}


@dataclass(frozen=True)
class Component:
    """One thing the registry can name. Nothing here is imported until it is resolved.

    Args:
        kind: one of `KINDS`.
        name: snake_case, unique per kind and modality; `plugin/name` (entry-point name first) always works.
        target: `module:attribute`, called with the options of the recipe block. For a recipe: `package:path.yaml`.
        summary: one line.
        options: `module:attribute` of the pydantic model of its options, in a module that imports no torch, so that a
            wrong option is refused before anything heavy loads. None: derived from the signature when it is resolved.
        defaults: defaults that differ from those of `options`; for a block a mapping of the keys that differ. A method,
            or a bundled teacher, that is only other defaults is a row of the manifest and needs no class: a preset.
        preset_of: of a preset, the name of the component whose defaults it changes (of another plugin: `plugin/name`),
            which `limbeck show` compares it with.
        modality: image, video, audio, 3d, text, or any.
        can: abilities offered (generator, teacher, data). Of a sampler: what it walks, `gaussian` unless it declares
            otherwise (`categorical` tokens, `generates` behind a prompt, `renders` for cameras).
        needs: abilities needed (objective). Those that depend on options come from the option model's `needs()`.
        reference: paper, or where it was first described.
        details: free facts shown by `limbeck show` (formula, cost, where it fails).
        extra: pip extra that brings its heavy dependency, for the error message.
        example: options for a quick trial, where the defaults take long: the conformance kit builds the component with
            them. None: it cannot be built without something that nobody has by default (a model to download).
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    options: str | None = None
    modality: str = "any"
    can: Set[str] = frozenset()
    needs: Needs = field(default_factory=Needs)
    reference: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    example: Mapping[str, Any] | None = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    preset_of: str = ""

    def __post_init__(self):
        object.__setattr__(self, "can", frozenset(self.can))


# What a class-conditional denoiser on a Gaussian process offers: most generators and teachers, and the start of others.
DENOISER: Set[str] = frozenset({"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"})


def recipe(path: str, summary: str, *, package: str, modality: str, **details: str) -> Component:
    """The row of a recipe: the file recipes/PATH.yaml of a package, named like the file.

    `recipe("digits/digits_dmd2", "...", package="limbeck_image", modality="image")` is the recipe `digits_dmd2`.
    """
    file = f"{package}:recipes/{path}.yaml"
    return Component("recipe", path.rpartition("/")[2], file, summary=summary, modality=modality, details=details)


def bundled(
    name: str,
    package: str,
    asset: str,
    *,
    generator: str,
    summary: str,
    modality: str,
    can: Set[str] = DENOISER,
    options: str = "limbeck.export.teacher_options:TeacherFileOptions",
    **described: Any,
) -> Component:
    """The row of a teacher whose weights a package ships: the file assets/ASSET of the package.

    Args:
        generator: the registered generator that builds its network, for files that do not name it.
        options: a subclass of `TeacherFileOptions` for a teacher that has options of its own.
        described: more fields of `Component`.
    """
    defaults = {"weights": f"{package}:assets/{asset}", "generator": generator}
    return Component(
        "teacher",
        name,
        "limbeck.export.teacher_files:teacher",
        summary=summary,
        options=options,
        defaults=defaults,
        modality=modality,
        can=can,
        **described,
    )
