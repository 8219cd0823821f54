"""Causal language models of `transformers` as teachers and generators.

Letters: B batch, L sequence, V true vocabulary, H hidden width. Masks, true where a token is real, mark padding; ids
never do, because the id that pads is often the one that ends a text.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Generator, Teacher
from limbeck_text.losses.head import Head
from limbeck_text.models import adapters
from limbeck_text.models.generation import TokenByToken
from limbeck_text.models.tied_weights import drop_tied, restore_tied, tied_names
from limbeck_text.tokenizers.codec import text_space
from limbeck_text.tokenizers.padding import positions
from limbeck_text.tokenizers.tokenizer import TextTokenizer

LONGEST = 1_000_000  # context of models whose configuration names none


class LanguageModel(TokenByToken, Teacher, Generator):
    """A `transformers` causal language model: logits of the next token over the true vocabulary.

    Args:
        model: a `...ForCausalLM`, or one wrapped by peft.
        tokenizer: its vocabulary is the true one; rows of the embedding beyond it are padding and are cut off.
        context: longest sequence; the configuration's when None.

    Tied weights stand once in `state_dict`.
    """

    process = None

    def __init__(self, model: nn.Module, tokenizer: TextTokenizer, *, context: int | None = None):
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.vocab, self.pad, self.eos = tokenizer.vocab, tokenizer.pad, tokenizer.eos
        config = self.plain.config.get_text_config()
        self.context = context or getattr(config, "max_position_embeddings", None) or LONGEST
        self.space = text_space(self.context, tokenizer)
        rows = self.plain.get_output_embeddings().weight.shape[0]
        if rows < self.vocab:
            raise LimbeckError(
                f"the tokenizer has {self.vocab} tokens and the model only {rows} rows in its head: they do not belong "
                "together. Give the folder that holds both, or resize the model's embeddings"
            )
        self.soft_cap = getattr(config, "final_logit_softcapping", None)
        self.scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere multiplies,
        self.scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite divides
        self._takes_positions = "position_ids" in inspect.signature(self.plain.base_model.forward).parameters
        self.tied = tied_names(self)
        self.register_state_dict_post_hook(drop_tied)
        self.register_load_state_dict_pre_hook(restore_tied)

    @property
    def plain(self) -> Any:
        """The `transformers` model inside, adapters injected if there are any."""
        return adapters.without_wrapper(self.model)

    def head(self) -> Head:
        """The last layer, cut to the true vocabulary; gradients reach the model's own weights."""
        layer = self.plain.get_output_embeddings()
        bias = getattr(layer, "bias", None)
        return Head(
            weight=layer.weight[: self.vocab],
            bias=None if bias is None else bias[: self.vocab],
            soft_cap=self.soft_cap,
            scale=self.scale,
        )

    def forward(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None = None,
        *,
        then: Callable[[Tensor, Head], Any] | None = None,
    ) -> Any:
        """Logits (B, L, V) of the token after each position; at padding they carry no meaning.

        Args:
            tokens: (B, L). attention_mask: (B, L), true where a token is real; padding may stand on either side.
            then: called with hidden states (B, L, H) and the head in place of projecting them, inside this forward so
                that wrappers (DDP, FSDP) see the head's use; its result is returned.
        """
        if tokens.shape[-1] > self.context:
            raise LimbeckError(
                f"a sequence of {tokens.shape[-1]} tokens is longer than the model's context of {self.context}. Use a "
                "shorter prompt or fewer new tokens"
            )
        hidden = self.body(tokens, attention_mask, use_cache=False).last_hidden_state  # (B, L, H)
        head = self.head()
        return head.logits(hidden) if then is None else then(hidden, head)

    def body(self, tokens: Tensor, mask: Tensor | None, **more: Any) -> Any:
        if mask is not None:
            more["attention_mask"] = mask.long()
            if self._takes_positions:
                more["position_ids"] = positions(mask)[:, -tokens.shape[-1] :]
        return self.plain.base_model(input_ids=tokens, **more)

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "LanguageModel":  # type: ignore[override]
        """A model to train that starts as this one: all of it, or low-rank adapters.

        Options of `lora`: rank, alpha, dropout, targets; see `limbeck_text.models.adapters.with_adapters`.
        """
        if mode == "full":
            if options:
                raise TypeError(f"a full copy takes no options; got {', '.join(options)}")
            return copy.deepcopy(self).train().requires_grad_(True)
        if adapters.has_adapters(self.model):
            raise TypeError("this model already has adapters; copy the model they were put on")
        adapted = adapters.with_adapters(self.plain, **options)
        return LanguageModel(adapted, self.tokenizer, context=self.context).train()

    def merged(self) -> Any:
        """A copy as a plain `transformers` model, adapters folded into the weights."""
        return adapters.merged(self.model)
