"""How the bundled tokenizer was made: `python -m limbeck_text.data.bundled_tokenizer DIR`."""

import hashlib
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from limbeck.files import write_json
from limbeck_text.data import cpython_docs
from limbeck_text.tokenizers.tokenizer import BUNDLED, PROVENANCE
from limbeck_text.tokenizers.train import train


def main(directory: str) -> None:
    """Train on the training split of CPython's documents; write the tokenizer and its provenance."""
    texts = cpython_docs.texts("train")
    folder = Path(directory)
    train(texts).save(str(folder / BUNDLED), pretty=False)
    provenance = {
        "made_by": "python -m limbeck_text.data.bundled_tokenizer DIR",
        "data": f"training split of text/pydocs: {len(texts)} documents, {sum(map(len, texts))} characters",
        "licence": f"Apache-2.0; trained on {cpython_docs.LICENCE}",
        "versions": {"python": platform.python_version(), "tokenizers": version("tokenizers")},
        "sha256": hashlib.sha256((folder / BUNDLED).read_bytes()).hexdigest(),
    }
    write_json(folder / PROVENANCE, provenance)


if __name__ == "__main__":
    main(*sys.argv[1:])
