"""Files of tensors that are spread over processes: each writes its own rows, and whoever reads joins them.

    generator.part-0-of-2.safetensors   some rows of every spread tensor, and the tensors that are not spread
    generator.part-1-of-2.safetensors   the other rows

Plain safetensors, so that any number of processes can read what any number wrote. (torch.distributed.checkpoint has a
safetensors writer too; its files are neither hashed nor renamed into place as a checkpoint's must be.)
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from limbeck.engine import tensor_file
from limbeck.errors import CheckpointError
from limbeck.networks.sharding import is_spread, part

_NAME = re.compile(r"(.+)\.part-(\d+)-of-(\d+)$")


def file_name(stem: str, rank: int, world: int) -> str:
    return f"{stem}.part-{rank}-of-{world}.safetensors"


def stem_of(path: Path) -> str:
    """generator.part-0-of-2.safetensors -> generator, like generator.safetensors."""
    found = _NAME.match(path.stem)
    return found[1] if found else path.stem


def any_spread(tensors: Mapping[str, Tensor]) -> bool:
    return any(is_spread(value) for value in tensors.values())


def pieces(tensors: Mapping[str, Tensor], rank: int) -> Iterable[bytes | memoryview]:
    """The safetensors file of this process; the first one also holds what is not spread."""
    mine = {name: part(value) for name, value in tensors.items() if rank == 0 or is_spread(value)}
    return tensor_file.pieces(mine, {"rows": sorted(name for name, value in tensors.items() if is_spread(value))})


def read(folder: Path, stem: str) -> dict[str, Tensor] | None:
    """The tensors of all parts, joined, on the CPU; None when there are no parts."""
    found = {}
    for path in folder.glob(f"{stem}.part-*.safetensors"):
        matched = _NAME.match(path.stem)
        if matched and matched[1] == stem:
            found[int(matched[2])] = (path, int(matched[3]))
    if not found:
        return None
    world = next(iter(found.values()))[1]
    if sorted(found) != list(range(world)) or any(of != world for _, of in found.values()):
        raise CheckpointError(f"{folder} holds parts {sorted(found)} of '{stem}', and should hold {world}")
    first, *others = [tensor_file.read(found[rank][0]) for rank in range(world)]
    rows = set(tensor_file.note(found[0][0]).get("rows", ()))
    return {
        name: torch.cat([value, *(other[name] for other in others)]) if name in rows else value
        for name, value in first.items()
    }
