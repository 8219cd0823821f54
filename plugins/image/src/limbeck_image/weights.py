"""Bundled weights: safetensors files that carry their own configuration, provenance and hash as JSON in the header."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
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
        raise CheckpointError(f"{path} is not a readable safetensors file: {err}. Reinstall limbeck-image.") from err
    expected = metadata.pop("sha256", None)
    if expected is None or expected != digest(state):
        raise CheckpointError(
            f"{path} does not hold what was written: its hash differs from the one in its header. "
            "Reinstall the package that brought it, or train it again."
        )
    described = {name: json.loads(value) for name, value in metadata.items()}
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}, described
