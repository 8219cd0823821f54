"""Tiny random models of several architectures of transformers, and a tokenizer without words."""

import torch
import transformers

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


KINDS = ("llama", "llama_untied", "gpt2", "qwen2_padded", "gemma2_capped", "cohere_scaled")


def build(kind: str):
    """A random tiny model; weights larger than usual, so that logits differ clearly from uniform."""
    torch.manual_seed(0)
    vocab, more = 300, {"max_position_embeddings": 64}
    if kind.startswith("llama"):
        config = transformers.LlamaConfig(
            vocab_size=vocab, **SMALL, **more, num_key_value_heads=1, tie_word_embeddings=kind == "llama"
        )
        model = transformers.LlamaForCausalLM(config)
    elif kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=vocab, n_embd=16, n_layer=2, n_head=2, n_positions=64)
        model = transformers.GPT2LMHeadModel(config)
    elif kind == "qwen2_padded":
        config = transformers.Qwen2Config(vocab_size=vocab + 20, **SMALL, **more, num_key_value_heads=2)
        model = transformers.Qwen2ForCausalLM(config)
    elif kind == "gemma2_capped":
        config = transformers.Gemma2Config(
            vocab_size=vocab, **SMALL, **more, num_key_value_heads=1, head_dim=8, final_logit_softcapping=3.0,
            attn_logit_softcapping=5.0, sliding_window=32, query_pre_attn_scalar=8,
        )  # fmt: skip
        model = transformers.Gemma2ForCausalLM(config)
    else:
        config = transformers.CohereConfig(vocab_size=vocab, **SMALL, **more, num_key_value_heads=2, logit_scale=0.25)
        model = transformers.CohereForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model.eval()


class Words:
    """The part of a tokenizer that the adapter uses: 300 tokens, padding equal to the end."""

    vocab, pad, eos = 300, 2, (2, 5)

    def fingerprint(self):
        return "words"

    def __deepcopy__(self, memo):
        return self


def some_tokens(rows=2, length=9, seed=1):
    return torch.randint(300, (rows, length), generator=torch.Generator().manual_seed(seed))
