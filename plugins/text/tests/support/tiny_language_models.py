"""Tiny language models and texts that several tests share."""

import torch
from torch import nn

import limbeck
from limbeck import Batch
from limbeck.interfaces import Data, Generator, Space, Teacher
from limbeck_text.losses.head import Head
from limbeck_text.models.llama import pydocs_lm

V, EOS = 4, 3


class Letters:
    """A tokenizer of four letters."""

    def __init__(self, letters="abc."):
        self.letters, self.vocab, self.pad, self.eos = letters, len(letters), 0, (EOS,)

    def fingerprint(self):
        return self.letters

    def encode(self, text):
        return [self.letters.index(c) for c in text if c in self.letters]

    def decode(self, ids):
        return "".join(self.letters[i] for i in ids if i != EOS)


class TinyLM(Teacher, Generator):
    """The next token depends on all tokens before it, through a decaying sum of embeddings. Exact in float64."""

    process, context = None, 12

    def __init__(self, seed=0, width=3, letters="abc."):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.space, self.tokenizer = Space((self.context,), domain="tokens"), Letters(letters)
        self.vocab = self.tokenizer.vocab
        self.embedding = nn.Parameter(torch.randn(self.vocab, width, generator=g, dtype=torch.float64))
        self.weight = nn.Parameter(torch.randn(self.vocab, width, generator=g, dtype=torch.float64))
        self.calls = 0

    def forward(self, tokens, attention_mask=None, *, then=None):
        self.calls += 1
        steps = self.embedding[tokens]
        if attention_mask is not None:
            steps = steps * attention_mask.unsqueeze(-1)
        states = [steps[:, 0]]
        for k in range(1, tokens.shape[1]):
            states.append(0.5 * states[-1] + steps[:, k])
        hidden, head = torch.stack(states, 1).tanh(), Head(weight=self.weight)
        return head.logits(hidden) if then is None else then(hidden, head)

    def generate_tokens(self, prompt, prompt_mask=None, *, length, temperature, top_p, rng):
        tokens = prompt
        mask = torch.ones_like(prompt, dtype=torch.bool) if prompt_mask is None else prompt_mask
        alive = torch.ones(len(prompt), dtype=torch.bool)
        for k in range(length):
            p = self(tokens, mask)[:, -1].div(temperature).softmax(-1)
            u = rng.uniform(f"token/{k}", (len(prompt),), torch.float64)
            token = torch.where(alive, (p.cumsum(-1) < u[:, None]).sum(-1).clamp_max(V - 1), 0)
            tokens, mask = torch.cat([tokens, token[:, None]], 1), torch.cat([mask, alive[:, None]], 1)
            alive = alive & (token != EOS)
        return tokens, mask


class Sentences(Data):
    space = Space((6,), domain="tokens")

    def __init__(self, rows=40, masks=False):
        self.x0, self.masks = torch.randint(V, (rows, 6), generator=torch.Generator().manual_seed(5)), masks

    def __len__(self):
        return len(self.x0)

    def batch(self, indices):
        x0 = self.x0[indices.cpu()]
        if not self.masks:
            return Batch(x0=x0)
        lengths = 2 + indices.cpu() % 4  # uneven completions
        return Batch(x0=x0, loss_mask=torch.arange(6) >= 6 - lengths[:, None])


def make(name, teacher_seed=1, student_seed=2, **options):
    teacher, student = TinyLM(teacher_seed).freeze(), TinyLM(student_seed)
    objective = limbeck.create("objective", name, **options)
    objective.setup(student, teacher)
    return objective, student, teacher


def loss_of(objective, batch, step=0):
    (phase,) = objective.phases(step)
    return objective.loss(phase, batch, limbeck.rng(0, step, phase))


TINY = {"hidden": 16, "layers": 1, "heads": 2, "context": 32}


def tokens_of(rows=4, length=12, seed=0):
    return torch.randint(2, 4096, (rows, length), generator=torch.Generator().manual_seed(seed))


def small_llama(seed=0, **more):
    torch.manual_seed(seed)
    made = pydocs_lm(**{**TINY, **more}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    return made


def recipe_of(folder, **more):
    return {
        "name": "tiny_lm",
        "generator": {"use": "text/pydocs_lm", "init": "random", **TINY},
        "objective": {"use": "language_modelling"},
        "data": {"use": "text/pydocs", "path": str(folder), "length": 16},
        "sampling": {"use": "text/autoregressive", "steps": 8},
        "train": {"steps": 12, "batch_size": 8, "lr": 0.01, "log_every": 1},
        "evaluate": {"metrics": ["nll"], "samples": 2, "batch_size": 2, "grid": 2},
        "report": {"write": False},
        **more,
    }
