"""Whether two language models share their tokenizer."""

from typing import Any

from limbeck.errors import LimbeckError
from limbeck.interfaces import unwrap


def check_same_tokenizer(teacher: Any, student: Any) -> None:
    """Refuse two models with different tokenizers: their logits cannot be compared token by token.

    Different padding of the embedding rows is fine; the true vocabularies must be equal.

    Raises:
        LimbeckError: a model without a tokenizer, or two tokenizers, with an example of how they differ.
    """
    one: Any = unwrap(teacher)
    other: Any = unwrap(student)
    for role, model in (("teacher", one), ("student", other)):
        if getattr(model, "tokenizer", None) is None:
            raise LimbeckError(
                f"the {role} ({type(model).__name__}) has no tokenizer, so its logits cannot be compared with another "
                "model's. Use a language model of limbeck-text (text/pydocs_lm, text/causal_lm)"
            )
    if one.tokenizer is other.tokenizer or one.tokenizer.fingerprint() == other.tokenizer.fingerprint():
        return
    a, b = one.tokenizer.encode("Return the string."), other.tokenizer.encode("Return the string.")
    raise LimbeckError(
        f"teacher and student use different tokenizers: {one.vocab} and {other.vocab} tokens; 'Return the string.' is "
        f"{a} for the teacher and {b} for the student. Divergences compare logits token by token, so both need one "
        "tokenizer: take a student of the same family, or learn from the teacher's text instead (objective seq_kd)"
    )
