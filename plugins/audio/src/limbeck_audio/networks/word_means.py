"""The mean spectrogram of every spoken digit: what a diffusion from a prior with a mean starts around.

python -m limbeck_audio.networks.word_means      writes the asset that generators with `prior_mean: true` read
"""

from functools import lru_cache
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from limbeck.export import teacher_files
from limbeck.interfaces import Data

BUNDLED = "spoken_digits_means.safetensors"


def means_of(data: Data, classes: int) -> Tensor:
    """Mean of the clips of every label and, last, of all of them, (classes + 1, *event). Labels run from 0."""
    batch = data.batch(torch.arange(len(data)))
    assert batch.x0 is not None
    each = [batch.x0[batch.cond == label].mean(dim=0) for label in range(classes)]
    return torch.stack([*each, batch.x0.mean(dim=0)])


@lru_cache(maxsize=1)
def bundled() -> Tensor:
    """The shipped means of the ten digits and of all training clips, (11, 1, 64, 64)."""
    state, _ = teacher_files.read(str(resources.files("limbeck_audio") / "assets" / BUNDLED))
    return state["means"]


def main() -> None:
    from limbeck_audio.data.speech import LICENCE, WORDS, SpokenDigits

    path = Path(str(resources.files("limbeck_audio"))) / "assets" / BUNDLED
    made_by = {"made_by": "python -m limbeck_audio.networks.word_means", "data": LICENCE, "licence": "Apache-2.0"}
    teacher_files.write(path, {"means": means_of(SpokenDigits(), len(WORDS)).half()}, provenance=made_by)


if __name__ == "__main__":
    main()
