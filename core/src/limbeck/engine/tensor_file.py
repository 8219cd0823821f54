"""Tensors to safetensors bytes, piece by piece, and back to modules.

Written by hand rather than through the library because a checkpoint is hashed and synced while it is written: no second
copy in memory, no second read, and a full disk is an OSError. Reading is the library's.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from limbeck.errors import LimbeckError

_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def without_ties(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every memory once: (tensors to store, {name of a tied tensor: name under which it is stored})."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple, str] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise LimbeckError(
                f"state '{name}' is a {type(tensor).__name__}, and checkpoints hold tensors only. Keep it in a buffer "
                "(register_buffer) or rebuild it from the options"
            )
        if tensor.is_meta or tensor.numel() == 0:
            kept[name] = tensor
            continue
        memory = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if memory in seen:
            aliases[name] = seen[memory]
        else:
            seen[memory] = name
            kept[name] = tensor
    return kept, aliases


def pieces(tensors: Mapping[str, Tensor], note: Mapping | None = None) -> Iterator[bytes | memoryview]:
    """The safetensors file of `tensors`: header, then every tensor. Equal tensors give equal bytes.

    Tied tensors are stored once; the map of aliases is in the metadata, with `note`.
    """
    stored, aliases = without_ties(tensors)
    order = sorted(stored, key=lambda name: (-stored[name].element_size(), name))  # keeps every tensor aligned
    information = {"aliases": aliases, **(note or {})}
    header: dict = {"__metadata__": {"limbeck": json.dumps(information, sort_keys=True)}}
    end = 0
    for name in order:
        tensor = stored[name]
        if tensor.dtype not in _DTYPES:
            raise LimbeckError(f"tensor '{name}' is {tensor.dtype}, which safetensors files cannot hold")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        if stored[name].numel():
            flat: Any = stored[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            yield memoryview(flat)


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file on the CPU, tied names included."""
    with safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        aliases = json.loads((file.metadata() or {}).get("limbeck", "{}")).get("aliases", {})
    for name, stored in aliases.items():
        tensors[name] = tensors[stored]
    return tensors


def note(path: Path) -> dict[str, Any]:
    """What stands beside the tensors: `note` of `pieces`."""
    with safe_open(path, framework="pt", device="cpu") as file:
        return json.loads((file.metadata() or {}).get("limbeck", "{}"))
