"""Causal language models of `transformers` as teachers and generators.

Letters: B batch, P prompt, L sequence, V true vocabulary, H hidden width. Padding is told by masks, true where a token
is real, and never by comparing ids: the id that pads often is the one that ends.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import resources
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import LimbeckError
from limbeck.export import teacher_files
from limbeck.interfaces import Generator, Teacher, unwrap
from limbeck.process.categorical import draw, probabilities
from limbeck.randomness import Rng
from limbeck.sampling.samples import evaluating
from limbeck_text.data.pydocs import text_space
from limbeck_text.losses.head import Head
from limbeck_text.options.text import CausalLMOptions, PydocsLMOptions, PydocsTeacherOptions
from limbeck_text.tokenizers.tokenizer import TextTokenizer, bundled, wrap

TEACHER, JUDGE = "pydocs_lm_teacher.safetensors", "pydocs_lm_judge.safetensors"
LONGEST = 1_000_000  # context of models that name none


# --- small functions -------------------------------------------------------------------------------------------------


def positions(mask: Tensor) -> Tensor:
    """Position of every real token among the real ones of its row, (B, L): padding does not count, on either side."""
    return (mask.long().cumsum(-1) - 1).clamp_min(0)


def to_left(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move all padding to the left of each row, (B, L), keeping the order of the tokens."""
    order = mask.long().argsort(dim=-1, stable=True)
    return tokens.gather(-1, order), mask.gather(-1, order)


def check_same_tokenizer(teacher: Any, student: Any) -> None:
    """Refuse two models that cut text differently: their logits cannot be compared token by token.

    Different padding of the embedding rows is fine; the true vocabularies must be equal.
    """
    one, other = unwrap(teacher), unwrap(student)
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


def _drop_tied(module: "LanguageModel", state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    for name in module.tied:
        state.pop(prefix + name, None)


def _restore_tied(module: "LanguageModel", state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    for name, first in module.tied.items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])


# --- the adapter -----------------------------------------------------------------------------------------------------


class LanguageModel(Teacher, Generator):
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
        self.tied = self._tied_names()
        self.register_state_dict_post_hook(_drop_tied)
        self.register_load_state_dict_pre_hook(_restore_tied)

    @property
    def plain(self) -> Any:
        """The `transformers` model inside, adapters injected if there are any."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def _tied_names(self) -> dict[str, str]:
        first: dict[int, str] = {}
        found = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            known = first.setdefault(id(parameter), name)
            if known != name:
                found[name] = known
        return found

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
        self._check_length(tokens.shape[-1])
        hidden = self._body(tokens, attention_mask, use_cache=False).last_hidden_state  # (B, L, H)
        head = self.head()
        return head.logits(hidden) if then is None else then(hidden, head)

    def _body(self, tokens: Tensor, mask: Tensor | None, **more: Any) -> Any:
        """Everything below the head. With a cache, mask (B, cached + L) covers what is cached."""
        if mask is not None:
            more["attention_mask"] = mask.long()
            if self._takes_positions:
                more["position_ids"] = positions(mask)[:, -tokens.shape[-1] :]
        return self.plain.base_model(input_ids=tokens, **more)

    def _check_length(self, length: int) -> None:
        if length > self.context:
            raise LimbeckError(
                f"a sequence of {length} tokens is longer than the model's context of {self.context}. Use a shorter "
                "prompt or fewer new tokens"
            )

    # --- copies ---

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "LanguageModel":  # type: ignore[override]
        """A model to train that starts as this one: all of it, or low-rank adapters (Hu et al. 2022) by peft.

        Options of `lora`: rank, alpha, dropout, targets (names of layers; all linear ones but the head when absent).
        """
        if mode == "full":
            if options:
                raise TypeError(f"a full copy takes no options; got {', '.join(options)}")
            return copy.deepcopy(self).train().requires_grad_(True)
        if hasattr(self.model, "get_base_model"):
            raise TypeError("this model already has adapters; copy the model they were put on")
        return self._with_adapters(**options)

    def _with_adapters(
        self, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, targets: tuple[str, ...] | None = None
    ) -> "LanguageModel":
        from peft import LoraConfig, get_peft_model
        from transformers.pytorch_utils import Conv1D

        names = list(targets) if targets else "all-linear"
        if targets and any(name.endswith(("lm_head", "embed_out")) for name in targets):
            raise TypeError(
                f"generator.lora.targets {list(targets)}: the head cannot be adapted, because losses are fused with "
                "its weight. Leave it out"
            )
        base = copy.deepcopy(self.plain).requires_grad_(False)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,  # type: ignore[arg-type]
            lora_dropout=dropout,
            target_modules=names,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
            task_type="CAUSAL_LM",
        )
        try:
            adapted = get_peft_model(base, config)
        except ValueError as err:
            layers = sorted(
                {n.rsplit(".", 1)[-1] for n, m in base.named_modules() if isinstance(m, nn.Linear | Conv1D)}
            )
            raise TypeError(f"generator.lora.targets {names}: {err} Linear layers here: {', '.join(layers)}") from err
        return LanguageModel(adapted, self.tokenizer, context=self.context).train()

    def merged(self) -> Any:
        """A plain `transformers` model with the adapters folded in; a copy."""
        model = copy.deepcopy(self.model)
        return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model

    # --- generation ---

    def generate_tokens(
        self,
        prompt: Tensor,
        prompt_mask: Tensor | None = None,
        *,
        length: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        rng: Rng,
        stop: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Continue prompts by `length` tokens, with a key-value cache and without gradients or dropout.

        Args:
            prompt: (B, P), padded on either side; prompt_mask: (B, P), true where a token is real (all when None).
            temperature: 0 is greedy. top_p: nucleus, see `limbeck.process.categorical.nucleus`.
            rng: draws uniform "token/0", "token/1", ...
            stop: a row is finished after an end-of-sequence token; what follows is padding.

        Returns:
            tokens (B, P + length), the prompts (moved against their completions) included, and mask (B, P + length),
            true where a token is real, the one that ended a row included.
        """
        if prompt_mask is None:
            prompt_mask = torch.ones_like(prompt, dtype=torch.bool)
        self._check_prompt(prompt, prompt_mask.bool(), length)
        prompt, mask = to_left(prompt, prompt_mask.bool())
        alive = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
        ends = torch.tensor(self.eos, device=prompt.device)
        pieces, given, cache = [prompt], prompt, None
        with evaluating(self):
            for k in range(length):
                if not bool(alive.any()):
                    rest = prompt.new_full((len(prompt), length - k), self.pad)
                    pieces.append(rest)
                    mask = torch.cat([mask, torch.zeros_like(rest, dtype=torch.bool)], dim=1)
                    break
                # rows that have finished go on among themselves; nobody reads what they say
                seen = mask if k == 0 else torch.cat([mask[:, :-1], torch.ones_like(mask[:, -1:])], dim=1)
                out = self._body(given, seen, use_cache=True, past_key_values=cache)
                cache = out.past_key_values
                logits = self.head().logits(out.last_hidden_state[:, -1]).float().double()
                p = probabilities(logits, temperature, top_p)  # (B, V)
                if not bool(torch.isfinite(p).all()):
                    raise LimbeckError(
                        f"the model's logits are not finite at new token {k}: its weights are broken, or too large for "
                        "the type it runs in. Try float32"
                    )
                token = draw(p, rng.uniform(f"token/{k}", (len(prompt),), torch.float64).to(p.device))
                token = torch.where(alive, token, self.pad)
                pieces.append(token[:, None])
                mask = torch.cat([mask, alive[:, None]], dim=1)
                if stop:
                    alive = alive & ~torch.isin(token, ends)
                given = token[:, None]
        return torch.cat(pieces, dim=1), mask

    def stream(
        self, prompt: Tensor, *, length: int, temperature: float = 1.0, top_p: float = 1.0, rng: Rng, stop: bool = True
    ) -> Iterator[int]:
        """Token ids as they are drawn, for one prompt (P,) or (1, P); the same ones as `generate_tokens` draws.

        It ends after `length` tokens, or before an end-of-sequence token.
        """
        given = prompt.reshape(1, -1)
        self._check_prompt(given, torch.ones_like(given, dtype=torch.bool), length)
        cache = None
        for k in range(length):
            with evaluating(self):
                out = self._body(given, None, use_cache=True, past_key_values=cache)
                logits = self.head().logits(out.last_hidden_state[:, -1]).float().double()
                p = probabilities(logits, temperature, top_p)
                token = draw(p, rng.uniform(f"token/{k}", (1,), torch.float64).to(p.device))
            cache = out.past_key_values
            if stop and int(token) in self.eos:
                return
            yield int(token)
            given = token[:, None]

    def _check_prompt(self, prompt: Tensor, mask: Tensor, length: int) -> None:
        if prompt.shape[1] == 0 or not bool(mask.any(dim=1).all()):
            empty = [] if prompt.shape[1] == 0 else (~mask.any(dim=1)).nonzero().flatten().tolist()
            which = f" (row {empty[0]})" if empty else ""
            raise LimbeckError(
                f"the prompt{which} is empty: a language model continues at least one token. Give some text, or sample "
                "without a prompt"
            )
        if int(mask.sum(dim=1).max()) + length > self.context:
            raise LimbeckError(
                f"a prompt of {int(mask.sum(dim=1).max())} tokens and {length} new ones do not fit into the model's "
                f"context of {self.context}. Shorten the prompt, or ask for fewer tokens (steps)"
            )


# --- components ------------------------------------------------------------------------------------------------------


def pydocs_lm(**options: Any) -> LanguageModel:
    """A fresh Llama-type model on the bundled tokenizer (RMS norms, rotary positions, gated feed-forward)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    chosen = PydocsLMOptions(**options)
    tokenizer = bundled()
    config = LlamaConfig(
        vocab_size=tokenizer.vocab,
        hidden_size=chosen.hidden,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.heads,
        intermediate_size=chosen.intermediate or 8 * (chosen.hidden // 3),
        max_position_embeddings=chosen.context,
        tie_word_embeddings=chosen.tied,
        attention_dropout=chosen.dropout,
        bos_token_id=None,
        eos_token_id=tokenizer.eos[0],
        pad_token_id=None,  # as a padding index it would keep its embedding from learning
        attn_implementation="eager",  # on a CPU, at such lengths, faster than the fused kernel
    )
    network = LlamaForCausalLM(config)
    if chosen.dropout:
        for module in (network.model.embed_tokens, *(layer.mlp for layer in network.model.layers)):
            module.register_forward_hook(partial(_dropout, chosen.dropout))
    return LanguageModel(network, tokenizer, context=chosen.context)


def _dropout(chance: float, module: nn.Module, given: Any, output: Tensor) -> Tensor:
    return F.dropout(output, chance, module.training)


def pydocs_teacher(**options: Any) -> LanguageModel:
    """The bundled autoregressive teacher, frozen; or the judge; or a file that the exporter `teacher` wrote."""
    chosen = PydocsTeacherOptions(**options)
    name = JUDGE if chosen.judge else TEACHER
    path = chosen.weights or str(resources.files("limbeck_text") / "assets" / name)
    return teacher_files.load(path, pydocs_lm, dropout=0.0)


def causal_lm(**options: Any) -> LanguageModel:
    """Any causal language model that `transformers` loads, with its tokenizer and all its end-of-sequence tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    chosen = CausalLMOptions(**options)
    more: dict[str, Any] = {"revision": chosen.revision} if chosen.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(chosen.model, **more)
        if chosen.attention is not None:
            more["attn_implementation"] = chosen.attention
        model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=getattr(torch, chosen.dtype), **more)
    except (OSError, ValueError) as err:
        raise LimbeckError(
            f"text/causal_lm could not load {chosen.model!r}: {err}\nGive a folder written by save_pretrained that "
            "holds model and tokenizer, or the id of one on the hub (network access is needed then)"
        ) from err
    language_model = LanguageModel(model, wrap(tokenizer, _ends(model)), context=chosen.context)
    check_head(language_model)
    return language_model


def _ends(model: Any) -> list[int]:
    """End-of-sequence ids of the generation configuration: one, several, or none."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if found is None else [found] if isinstance(found, int) else list(found)


def check_head(model: LanguageModel, tolerance: float = 1e-3) -> None:
    """Compare our logits with the model's own on two tokens: an architecture may do things to them that we do not
    know."""
    tokens = torch.tensor([[0, min(1, model.vocab - 1)]], device=next(model.parameters()).device)
    with evaluating(model):
        ours, theirs = model(tokens).float(), model.plain(input_ids=tokens).logits[..., : model.vocab].float()
    if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, float(theirs.abs().max()))):
        raise LimbeckError(
            f"{type(model.plain).__name__} treats its logits in a way this adapter does not know: they differ by "
            f"{float((ours - theirs).abs().max()):.2g} from head(hidden). Known: bias, final_logit_softcapping, "
            "logit_scale, logits_scaling"
        )


def describe(model: LanguageModel) -> Mapping[str, Any]:
    """Facts for cards and folders."""
    learning = [p for p in model.parameters() if p.requires_grad]
    return {
        "architecture": type(model.plain).__name__,
        "vocabulary": model.vocab,
        "context": model.context,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in learning),
    }
