"""Tokenizers: the bundled one (byte-level BPE of 4,096 tokens) and any of `transformers`, behind four questions.

The bundled one was trained by `train` on the training split of CPython's documents and never changes: weights depend on
it. Anything can be encoded with it, byte by byte if need be.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

PAD, EOS = "<pad>", "<eos>"
VOCAB = 4096
BUNDLED = "pydocs_tokenizer.json"
PROVENANCE = "pydocs_tokenizer.provenance.json"
_PROBES = (
    "def join(self, *args):\n    Return the string.",
    "Änderung, 数据 and \U0001f40d; tabs\tand  spaces",
    " 3.14159e-10 != None",
)


class TextTokenizer:
    """Text to token ids and back.

    vocab: number of token ids, which may be less than the rows of a model's padded embedding.
    pad, eos: ids, eos as a tuple because models may stop at several; pad may equal an eos, so ids never tell padding.
    """

    def __init__(self, backend: Any, *, vocab: int, pad: int, eos: tuple[int, ...], transformers: Any = None):
        self.backend, self.vocab, self.pad, self.eos = backend, vocab, pad, eos
        self._transformers = transformers

    def encode(self, text: str) -> list[int]:
        """Ids without special tokens."""
        if self._transformers is not None:
            return self._transformers.encode(text, add_special_tokens=False)
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text; special tokens leave no trace."""
        if self._transformers is not None:
            return self._transformers.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        if self._transformers is not None:
            return [self.encode(text) for text in texts]
        return [found.ids for found in self.backend.encode_batch(list(texts), add_special_tokens=False)]

    def fingerprint(self) -> str:
        """Equal for equal tokenizers: hash of the vocabulary and of how some text is cut."""
        source = self._transformers or self.backend
        content = [sorted(source.get_vocab().items()), [self.encode(probe) for probe in _PROBES]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def as_transformers(self) -> Any:
        """The same as a `transformers` tokenizer, to be saved beside a model."""
        if self._transformers is None:
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast(
                tokenizer_object=self.backend, pad_token=PAD, eos_token=EOS, padding_side="left"
            )
        return self._transformers

    def __deepcopy__(self, memo: dict) -> "TextTokenizer":
        return self  # nothing in it changes


@lru_cache(maxsize=1)
def bundled() -> TextTokenizer:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str((resources.files("limbeck_text") / "assets" / BUNDLED).read_text(encoding="utf-8"))
    return TextTokenizer(
        backend, vocab=backend.get_vocab_size(), pad=backend.token_to_id(PAD), eos=(backend.token_to_id(EOS),)
    )


@lru_cache(maxsize=8)
def from_pretrained(name: str) -> TextTokenizer:
    """The tokenizer of a `transformers` folder or hub id."""
    from transformers import AutoTokenizer

    return wrap(AutoTokenizer.from_pretrained(name))


def wrap(tokenizer: Any, more_eos: Iterable[int] = ()) -> TextTokenizer:
    """A `transformers` tokenizer; `more_eos` are ids at which the model's generation_config stops too."""
    eos = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    eos = list(dict.fromkeys([*eos, *more_eos]))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (eos[0] if eos else 0)
    return TextTokenizer(None, vocab=len(tokenizer), pad=pad, eos=tuple(eos), transformers=tokenizer)


def named(name: str) -> TextTokenizer:
    """The bundled tokenizer for an empty name, else that of a folder or hub id."""
    return from_pretrained(name) if name else bundled()


# --- how the bundled one was made ------------------------------------------------------------------------------------


def train(texts: Iterable[str], vocab: int = VOCAB) -> Any:
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with `<pad>` 0 and `<eos>` 1."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main(directory: str) -> None:
    """Train on the training split; write the tokenizer and its provenance: `python -m limbeck_text.tokenizers.tokenizer
    DIR`."""
    import sys
    from importlib.metadata import version

    from limbeck_text.data import cpython_docs as corpus

    texts = [text for name, text in corpus.documents().items() if corpus.share_of(name) == "train"]
    tokenizer = train(texts)
    folder = Path(directory)
    tokenizer.save(str(folder / BUNDLED), pretty=False)
    provenance = {
        "made_by": "python -m limbeck_text.tokenizers.tokenizer DIR",
        "data": f"training split of text/pydocs: {len(texts)} documents, {sum(map(len, texts))} characters",
        "python": sys.version.split()[0],
        "licence": f"Apache-2.0; trained on {corpus.LICENCE}",
        "versions": {"tokenizers": version("tokenizers")},
        "sha256": hashlib.sha256((folder / BUNDLED).read_bytes()).hexdigest(),
    }
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
