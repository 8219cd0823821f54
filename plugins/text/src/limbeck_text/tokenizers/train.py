"""Training of a byte-level BPE tokenizer."""

from collections.abc import Iterable
from typing import Any

from limbeck_text.tokenizers.tokenizer import EOS, PAD, VOCAB


def train(texts: Iterable[str], vocab: int = VOCAB) -> Any:
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with `<pad>` 0 and `<eos>` 1.

    The bundled tokenizer is what this returns on the training split (`limbeck_text.data.bundled_tokenizer`).
    """
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
