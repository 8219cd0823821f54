"""Teacher files: weights in safetensors, with what builds the network, provenance and hash as JSON in the header.

Bundled teachers are such files, and rows of a manifest (`limbeck.manifest.bundled`). `limbeck export RUN --to teacher
DIR` writes one from a pretraining run; `weights` of any bundled teacher reads it back.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limbeck.errors import CheckpointError, OptionError
from limbeck.files import write_whole
from limbeck.options import ProcessName

# Where an asset came from: the one vocabulary of networks, judges, means and tokenizers.
PROVENANCE = {
    "made_by": "command that made it",
    "recipe": "recipe it was trained by",
    "steps": "training steps",
    "seed": "seed of the run",
    "began_from": "first weights: random, teacher, or a file by its name, hash and provenance",
    "data": "what it was trained on, with the licence of that",
    "licence": "licence of the file itself",
    "versions": "packages that made it",
    "evaluation": "what was measured on it, held-out data first of all",
}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    out = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        out.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        out.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return out.hexdigest()


def write(path: str | Path, state: Mapping[str, Tensor], **described: Any) -> None:
    """Save with JSON values in the header: `generator` and `config` (what builds the network), `provenance` (how it
    came about, in the words of `PROVENANCE`).

    Raises:
        ValueError: a word in the provenance that is not in `PROVENANCE`.
    """
    if strange := sorted(set(described.get("provenance", {})) - set(PROVENANCE)):
        raise ValueError(f"provenance has no {', '.join(strange)}. Allowed: {', '.join(PROVENANCE)}")
    # clones: tied tensors share memory, and safetensors stores every name
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    header = {name: json.dumps(value, sort_keys=True) for name, value in described.items()}
    write_whole(path, save(state, metadata={**header, "sha256": digest(state)}))


def read(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (floating ones as `dtype`) and the decoded header. A torn or altered file is refused."""
    if not Path(path).is_file():
        raise CheckpointError(f"no file at {path}. Give a .safetensors file, or PACKAGE:PATH of an installed package")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as err:
        raise CheckpointError(
            f"{path} is not a readable safetensors file: {err}. Reinstall the package that brought it."
        ) from err
    expected = metadata.pop("sha256", None)
    if expected is None or expected != digest(state):
        raise CheckpointError(
            f"{path} does not hold what was written: its hash differs from the one in its header. "
            "Reinstall the package that brought it, or train it again."
        )
    described = {name: json.loads(value) for name, value in metadata.items()}
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}, described


def teacher(weights: str, generator: str | None = None, process: ProcessName | None = None) -> Any:
    """The component behind every bundled teacher: the frozen network of a file.

    Args:
        weights: a file, or PACKAGE:PATH of one inside an installed package.
        generator: registered generator that builds the network of a file whose header names none.
        process: the process to predict on, by name; None: the one it was trained on.

    Raises:
        CheckpointError: the file is torn, altered, or does not name what builds it.
        ValueError: `process` was given for a network whose weights belong to the process it was trained on.
    """
    path = located(weights)
    made = load(path, generator)
    if process is not None:
        from limbeck.process.gaussian import process_named

        other = process_named(process, sigma_data=made.sigma_data)
        if made.prediction != "edm" and other != made.process:
            raise ValueError(
                f"the teacher in {path} predicts {made.prediction} on {made.process}; only prediction edm can be "
                "moved to another process. Leave `process` out, or train it with generator.prediction=edm"
            )
        made.process = other
    return made


def located(weights: str) -> Path:
    """The path of a teacher file, given as a path or as PACKAGE:PATH."""
    package, colon, inside = weights.partition(":")
    if colon and _installed(package):
        return Path(str(resources.files(package).joinpath(inside)))
    return Path(weights).expanduser()


def _installed(package: str) -> bool:
    try:
        spec = find_spec(package) if package.replace(".", "_").isidentifier() else None
    except (ImportError, ValueError):  # `a.b` without `a`; a module without a spec
        return False
    return spec is not None and spec.submodule_search_locations is not None


def load(path: str | Path, generator: str | Callable[..., Any] | None = None, **changed: Any) -> Any:
    """The frozen network of a teacher file, with `provenance` as an attribute.

    It is built by the generator that the header names from the configuration beside it, without dropout, which served
    its purpose in pretraining.

    Args:
        generator: registered name, or the function itself, for a header that names none.
        changed: replaces values of the stored configuration.
    """
    state, header = read(path)
    if "config" not in header:
        raise CheckpointError(
            f"{path} does not hold how its network is built (no 'config' in its header). "
            "Write teachers with: limbeck export RUN --to teacher DIR"
        )
    build = header.get("generator", generator)
    if build is None:
        raise CheckpointError(
            f"{path} does not name the generator that builds its network (no 'generator' in its header). "
            "Name it: teacher.generator=PLUGIN/NAME (limbeck list generators)"
        )
    dropout = {"dropout": 0.0} if "dropout" in header["config"] else {}
    config = {**header["config"], **dropout, **changed}
    if isinstance(build, str):
        from limbeck.plugins.registry import create

        try:
            network = create("generator", build, **config)
        except OptionError as error:
            raise CheckpointError(
                f"{path} holds a network that generator {build!r} cannot build: {error}. Name the generator it was "
                "trained with: teacher.generator=PLUGIN/NAME"
            ) from error
    else:
        network = build(**config)
    network.load_state_dict(state)
    network.provenance = header.get("provenance", {})
    return network.freeze()


def export(
    run: Any, directory: Path | str, *, dtype: Literal["float16", "float32"] = "float16", licence: str = ""
) -> list[Path]:
    """Write the (averaged) network of a run as a teacher file, RECIPE.safetensors: the generator that builds it, its
    configuration, provenance and hash in the header. `licence` of the weights: that of the data, if none is given."""
    recipe = run.recipe
    network = run.generator()
    evaluation = Path(run.path) / "evaluation.json"
    rows = json.loads(evaluation.read_text(encoding="utf-8"))["rows"] if evaluation.is_file() else []
    floating = getattr(torch, dtype)
    state = {n: t.to(floating) if t.is_floating_point() else t for n, t in network.state_dict().items()}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{recipe.name}.safetensors"
    builder = _registered(recipe.generator.use)
    data = getattr(run.built.data, "licence", "")
    provenance = {
        "made_by": f"limbeck {'pretrain' if recipe.teacher is None else 'distill'} {recipe.name}",
        "recipe": recipe.name,
        "steps": recipe.train.steps,
        "seed": recipe.train.seed,
        "began_from": _beginning(recipe.generator.init),
        "data": data,
        "licence": licence or data,
        "evaluation": [{key: row[key] for key in ("name", "evaluations", "metrics") if key in row} for row in rows],
        "versions": {"torch": torch.__version__, **(_version(builder.distribution) if builder else {})},
    }
    named = {"generator": builder.qualified} if builder else {}
    write(path, state, config=dict(recipe.generator.options), provenance=provenance, **named)
    return [path]


def _beginning(init: str) -> str | dict[str, Any]:
    """The first weights of a run: 'random', 'teacher', or what is known of the file or the run that they were in.

    Names only, no folders: the file goes to other machines."""
    path = Path(init).expanduser()
    if not path.is_file():
        return path.name
    with safe_open(str(path), framework="pt") as file:
        header = dict(file.metadata() or {})
    known = {"sha256": header.get("sha256"), "provenance": json.loads(header.get("provenance", "null"))}
    return {"file": path.name, **{name: value for name, value in known.items() if value is not None}}


def _registered(use: str) -> Any:
    """The entry of a registered generator; None for one that was given as an object."""
    from limbeck.errors import LimbeckError
    from limbeck.plugins.registry import registry

    try:
        return registry.find("generator", use)
    except LimbeckError:
        return None


def _version(distribution: str) -> dict[str, str]:
    try:
        return {distribution: version(distribution)}
    except PackageNotFoundError:
        return {}


__all__ = ["PROVENANCE", "digest", "export", "load", "located", "read", "teacher", "write"]
