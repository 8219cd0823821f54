"""Teacher files: weights in safetensors, with configuration, provenance and hash as JSON in the header.

Bundled teachers are such files. `limbeck export RUN --to teacher DIR` writes one from a pretraining run; the teacher
components of plugins read it back with `load`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from limbeck.errors import CheckpointError


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    out = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        out.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        out.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return out.hexdigest()


def write(path: str | Path, state: Mapping[str, Tensor], **described: Any) -> None:
    """Save with JSON values in the header: `config` (how to build the network), `provenance` (how it came about)."""
    # clones: tied tensors share memory, and safetensors stores every name
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    header = {name: json.dumps(value, sort_keys=True) for name, value in described.items()}
    save_file(state, str(path), metadata={**header, "sha256": digest(state)})
    Path(path).chmod(0o644)  # safetensors writes 0600, which a wheel would carry to other users


def read(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (floating ones as `dtype`) and the decoded header. A torn or altered file is refused."""
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


def load(path: str | Path, build: Callable[..., Any], **changed: Any) -> Any:
    """The frozen network of a teacher file: `build(**config)`, its weights, and `provenance` as an attribute.

    `changed` replaces values of the stored configuration (dropout, which served its purpose in pretraining).
    """
    state, header = read(path)
    if "config" not in header:
        raise CheckpointError(
            f"{path} does not say how its network is built (no 'config' in its header). "
            "Write teachers with: limbeck export RUN --to teacher DIR"
        )
    teacher = build(**{**header["config"], **changed})
    teacher.load_state_dict(state)
    teacher.provenance = header.get("provenance", {})
    return teacher.freeze()


def export(run: Any, directory: Path | str, *, dtype: Literal["float16", "float32"] = "float16") -> list[Path]:
    """Write the (averaged) network of a run as a teacher file, RECIPE.safetensors: configuration, provenance and hash
    in its header."""
    recipe = run.recipe
    network = run.generator()
    evaluation = Path(run.path) / "evaluation.json"
    rows = json.loads(evaluation.read_text(encoding="utf-8"))["rows"] if evaluation.is_file() else []
    floating = getattr(torch, dtype)
    state = {n: t.to(floating) if t.is_floating_point() else t for n, t in network.state_dict().items()}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{recipe.name}.safetensors"
    plugin = _distribution(recipe.generator.use)
    provenance = {
        "made_by": f"limbeck {'pretrain' if recipe.teacher is None else 'distill'} {recipe.name}",
        "recipe": recipe.name,
        "steps": recipe.train.steps,
        "seed": recipe.train.seed,
        "began_from": _beginning(recipe.generator.init),
        "data": getattr(run.built.data, "licence", ""),
        "licence": "Apache-2.0",
        "evaluation": [{key: row[key] for key in ("name", "evaluations", "metrics") if key in row} for row in rows],
        "versions": {"torch": torch.__version__, **plugin},
    }
    write(path, state, config=dict(recipe.generator.options), provenance=provenance)
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


def _distribution(use: str) -> dict[str, str]:
    """The version of the distribution that a registered generator comes from."""
    from limbeck.errors import LimbeckError
    from limbeck.plugins.registry import registry

    try:
        name = registry.find("generator", use).distribution
        return {name: version(name)}
    except (LimbeckError, PackageNotFoundError):
        return {}


__all__ = ["digest", "export", "load", "read", "write"]
