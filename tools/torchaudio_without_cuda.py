"""Lets torchaudio be imported beside a torch without CUDA: python tools/torchaudio_without_cuda.py

The wheel of torchaudio 2.11 on PyPI holds native libraries that are linked against CUDA, and `import torchaudio` loads
them, so next to a CPU build of torch the import fails. What we use of it (mel filters, Griffin-Lim, resampling) is
written in Python. This moves the libraries into a folder beside them; with a torch that has CUDA it does nothing.
Setting up is the place for this: an import must not change what is installed.
"""

import importlib.util
from pathlib import Path


def main() -> None:
    import torch

    found = importlib.util.find_spec("torchaudio")
    if found is None or found.origin is None or torch.version.cuda is not None:
        return
    folder = Path(found.origin).parent / "lib"
    aside = folder / "needs_cuda"
    for library in folder.glob("*.so"):
        aside.mkdir(exist_ok=True)
        library.replace(aside / library.name)


if __name__ == "__main__":
    main()
