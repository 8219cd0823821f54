"""The exporter `safetensors`: a student's weights as one file, with the recipe and versions in its header."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.export.folder import CONFIG, WEIGHTS, prepare
from limbeck.export.student import config_of, student_of
from limbeck.files import write_json, write_whole


def export_safetensors(run: Any, directory: Path | str, *, overwrite: bool = False) -> list[Path]:
    """The student's weights as one safetensors file (its header repeats the config) and config.json: the recipe that
    builds the network, how it is sampled, versions, metrics."""
    directory = prepare(directory, overwrite)
    network, sampler, steps = student_of(run)
    config = config_of(run, network, sampler, steps)
    save_weights(network, directory / WEIGHTS, config)
    write_json(directory / CONFIG, config)
    return [directory / WEIGHTS, directory / CONFIG]


def save_weights(network: nn.Module, path: Path, config: Mapping[str, Any]) -> None:
    """The state dict as plain safetensors, with the config in the header."""
    from safetensors.torch import save

    # clones: tied tensors share memory, and every name must be there for a plain load_state_dict
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    metadata = {"format": "pt", "limbeck": json.dumps(config, sort_keys=True)}
    write_whole(path, save(tensors, metadata=metadata))
