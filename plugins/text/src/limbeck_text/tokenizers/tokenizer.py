"""Tokenizers: the bundled one (byte-level BPE of 4,096 tokens) and any of `transformers`, behind one interface.

The bundled one was trained on the training split of CPython's documents (`limbeck_text.data.bundled_tokenizer`) and
never changes: weights depend on it. It encodes any text, byte by byte if need be.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
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
    pad, eos: ids, eos as a tuple because models may stop at several; pad may equal an eos, so that ids mark no padding.
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
    """Byte-level BPE of 4,096 tokens, `<pad>` 0 and `<eos>` 1."""
    from tokenizers import Tokenizer

    file = resources.files("limbeck_text") / "assets" / BUNDLED
    backend: Any = Tokenizer.from_str(file.read_text(encoding="utf-8"))
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
