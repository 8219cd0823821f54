"""Prompts and texts: encoding, room in the context, pieces as they are written, and `limbeck sample --prompt`."""

import json
from pathlib import Path

import engine_problem as problem
import pytest
import torch
from torch import nn

from limbeck.cli import main
from limbeck.errors import LimbeckError, RecipeError
from limbeck.interfaces import (
    Batch,
    Codec,
    Data,
    Generator,
    Loss,
    Objective,
    Phase,
    Picture,
    Sample,
    Sampler,
    Source,
    Space,
)
from limbeck.manifest import Component
from limbeck.plugins.registry import registry
from limbeck.runs.run import Run
from limbeck.sampling.prompts import encode, room, stream, writes
from limbeck.sampling.samples import Samples

CONTEXT = 16
WRITTEN = "ä, b€c".encode()  # with characters of one, two and three bytes


class Bytes(Codec):
    """Tokens are the bytes of UTF-8."""

    def encode(self, seen):
        rows = [list(text.encode()) for text in seen]
        return torch.tensor(rows), torch.ones(len(rows), len(rows[0]), dtype=torch.bool)

    def decode(self, value):
        return [bytes(row).decode(errors="replace") for row in value.tolist()]


class Writer(Generator):
    """Always writes the same, from where the seed says."""

    def __init__(self):
        super().__init__()
        self.space = Space((CONTEXT,), domain="tokens", codec=Bytes())
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, tokens):
        return self.weight * tokens.float()


class Streams(Sampler):
    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        rows = len(cond) if cond is not None else batch_size
        new = torch.tensor(list(WRITTEN * 3))[:steps].expand(rows, -1)
        value = new if cond is None else torch.cat([cond, new], 1)
        return Sample(value=value, at=value, t_from=1, t_to=0, evaluations=steps)

    def stream(self, model, prompt=None, *, steps, rng):
        assert not model.training and not torch.is_grad_enabled()
        yield from (WRITTEN * 3)[:steps]


class Fills(Sampler):
    """Writes everything at once, behind the prompt, until the context is full."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        rows = len(cond) if cond is not None else batch_size
        start = cond if cond is not None else torch.zeros(rows, 0, dtype=torch.int64)
        letters = 97 + rng.integers("letters", 26, (rows, CONTEXT - start.shape[1]))
        value = torch.cat([start, letters], 1)
        return Sample(value=value, at=value, t_from=1, t_to=0, evaluations=steps)


class Letters(Data):
    space = Space((CONTEXT,), domain="tokens", codec=Bytes())

    def __len__(self):
        return 4

    def batch(self, indices):
        return Batch(x0=97 + indices[:, None].expand(-1, CONTEXT))


class Rows(Source):
    def __init__(self, data=None, **partners):
        self.data = data

    def batch(self, size, rng):
        return self.data.batch(torch.arange(size) % 4)


class Weigh(Objective):
    default_source = "letter_rows"

    def setup(self, generator, teacher=None, **named):
        self.add_role("generator", generator)

    def phases(self, step):
        return [Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        return Loss((self.network("generator", phase)(batch.x0) - 1).square().mean())


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brought = [
        Component("generator", "writer", Writer, can={"log_probs"}), Component("data", "letters", Letters),
        Component("source", "letter_rows", Rows), Component("objective", "weigh", Weigh),
        Component("sampler", "streams", Streams), Component("sampler", "fills", Fills),
    ]  # fmt: skip
    with registry.register(brought, name="writing"):
        yield


def made(folder, use="streams", steps=9, **more):
    """A run of the toy, as short as it gets."""
    import limbeck

    return limbeck.pretrain(
        {"name": folder, "generator": {"use": "writer"}, "objective": {"use": "weigh"}, "data": {"use": "letters"},
         "sampling": {"use": use, "steps": steps}, "train": {"steps": 1, "batch_size": 4},
         "evaluate": {"grid": 0}, "report": {"write": False}, **more},
        out=folder, progress=False,
    )  # fmt: skip


@pytest.fixture
def limbeck(capsys):
    """(exit code, standard output, standard error) of a command."""

    def run(*arguments):
        code = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_a_prompt_becomes_tokens_and_an_empty_one_is_refused():
    assert encode(Writer().space, "ab").tolist() == [97, 98] and writes(Writer().space)
    with pytest.raises(RecipeError, match="the prompt is empty"):
        encode(Writer().space, "")
    assert not writes(Space((2,)))


def test_new_tokens_are_as_many_as_asked_or_as_there_is_room_for():
    prompt = torch.zeros(10, dtype=torch.int64)
    assert room(Writer(), prompt, None, 4, streams=True) == 4
    assert room(Writer(), prompt, None, 40, streams=True) == 6
    assert room(Writer(), None, None, 40, streams=True) == CONTEXT
    assert room(Writer(), prompt, 6, 4, streams=True) == 6
    with pytest.raises(RecipeError, match=r"prompt has 10 tokens; 7 more do not fit into the model's context of 16.*6"):
        room(Writer(), prompt, 7, 4, streams=True)
    assert room(Writer(), prompt, None, 40, streams=False) == 40, "steps are no tokens there"
    with pytest.raises(RecipeError, match="the prompt has 16 tokens, and the model's context 16: shorten it"):
        room(Writer(), torch.zeros(16), None, 4, streams=False)


def test_pieces_are_whole_characters_and_together_the_text():
    pieces = list(stream(Writer().train(), Streams(), None, steps=9))
    assert pieces == ["ä", ",", " ", "b", "€", "c"]
    behind = list(stream(Writer(), Streams(), torch.tensor([0xC3]), steps=9))  # a prompt that ends within a character
    assert "".join(behind).endswith("c")


def test_a_run_streams_what_it_samples():
    run = made("one")
    assert run.streams and "".join(run.stream("xy")) == WRITTEN.decode()
    assert run.sample(1, prompt="xy").seen() == ["xy" + WRITTEN.decode()]
    assert "".join(run.stream(steps=2)) == "ä"
    filling = made("two", "fills")
    assert not filling.streams
    with pytest.raises(RecipeError, match="does not write from left to right"):
        list(filling.stream("x"))
    texts = filling.sample(3, prompt="xy").seen()
    assert len(texts) == 3 and all(text.startswith("xy") and len(text) == CONTEXT for text in texts)


def test_samples_of_tokens_are_seen_as_texts_and_saved_with_their_domain(tmp_path):
    from safetensors import safe_open

    samples = Samples(torch.tensor([[97, 98], [99, 100]]), None, Writer().space)
    assert samples.seen() == ["ab", "cd"] and samples.domain == "tokens"
    with safe_open(samples.save(tmp_path / "x.safetensors"), framework="pt") as file:
        assert file.metadata()["domain"] == "tokens" and file.get_tensor("samples").tolist() == [[97, 98], [99, 100]]


def test_a_picture_that_is_not_still_is_kept_as_a_fragment_and_shown_in_the_report(tmp_path):
    from limbeck.evaluation import save_grid
    from limbeck.report.pictures import fragment

    class Writing(Picture):
        still = False

        def __init__(self, texts):
            self.texts = texts

        def save(self, path):
            Path(path).write_bytes(b"png")

        def html(self):
            return f"<pre>{'|'.join(self.texts)}</pre>"

    view = Component("view", "written", lambda samples, cond, captions=None: Writing(samples), summary="texts")
    with registry.register(view, name="lines"):
        save_grid(Samples(torch.tensor([[97], [98]]), None, Space((1,), "written", Bytes())), tmp_path / "step-000001")
    assert (tmp_path / "step-000001.html").read_text() == "<pre>a|b</pre>"
    assert fragment(tmp_path / "step-000001", "x") == "<pre>a|b</pre>", "without the view, and without its codec"


# --- the command -----------------------------------------------------------------------------------------------------


def test_texts_are_printed_behind_their_prompt(limbeck):
    made("one")
    assert limbeck("sample", "one", "--prompt", "xy") == (0, f"xy{WRITTEN.decode()}\n", "")
    code, out, _ = limbeck("sample", "one", "-n", "2", "--steps", "2")
    assert (code, out) == (0, "ä\n--------\nä\n")
    made("two", "fills")
    code, out, _ = limbeck("sample", "two", "--prompt", "xy", "-n", "2", "--seed", "4")
    first, rule, second = out.splitlines()
    assert code == 0 and rule == "--------" and first != second and {first[:2], second[:2]} == {"xy"}
    assert limbeck("sample", "two", "--prompt", "xy", "-n", "2", "--seed", "4")[1] == out


def test_texts_go_to_a_file_when_asked(limbeck, tmp_path):
    made("one")
    assert limbeck("sample", "one", "--prompt", "xy", "-o", "out/texts.txt")[:2] == (0, "out/texts.txt\n")
    assert (tmp_path / "out/texts.txt").read_text(encoding="utf-8") == f"xy{WRITTEN.decode()}\n"
    assert limbeck("sample", "one", "-n", "3", "-o", "x.safetensors")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "x" * 16], "the prompt has 16 tokens, and the model's context 16"),
        (["--prompt", "x" * 10, "--steps", "7"], "at most 6 (--steps)"),
        (["--prompt", "x", "--cond", "3"], "--prompt and --cond exclude each other"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_a_message_and_exit_code_2(limbeck, arguments, said):
    made("one")
    code, out, err = limbeck("sample", "one", *arguments)
    assert (code, out) == (2, "") and said in err


def test_a_model_that_takes_no_prompt_says_so_and_where_the_prompt_belongs(limbeck):
    problem.train(Path("points"), train={"steps": 1}, evaluate={"every": None, "metrics": []})
    code, _, err = limbeck("sample", "points", "--prompt", "a red torus")
    assert code == 2 and "the student of this run (tiny_net) makes vector, and takes no prompt" in err
    short = {"prompt": "data.prompt"}
    problem.train(Path("scene"), train={"steps": 1}, evaluate={"every": None, "metrics": []}, shortcuts=short)
    code, _, err = limbeck("sample", "scene", "--prompt", "a red torus")
    assert code == 2 and "limbeck distill tiny prompt='...'" in err


def test_a_finished_run_of_texts_proposes_a_prompt_next(limbeck, capsys):
    from limbeck.cli.working import finish

    run = made("one")
    capsys.readouterr()
    finish(run, as_json=False)
    assert 'next      limbeck sample one --prompt "..."' in capsys.readouterr().out
    assert json.loads(Path("one/run.json").read_text())["domain"] == "tokens"


def test_programs_are_refused_for_what_is_no_denoiser_and_weights_are_always_exported(tmp_path):
    run = made("one")
    with pytest.raises(LimbeckError, match=r"exporter 'torch' .* Writer is no denoiser. The weights alone: --to"):
        run.export("torch", tmp_path / "program")
    files = run.export("safetensors", tmp_path / "weights")
    config = json.loads((tmp_path / "weights/config.json").read_text())
    assert [f.name for f in files] == ["student.safetensors", "config.json"]
    assert config["process"] is None and config["sampling"]["use"] == "streams" and config["parameters"] == 1
    assert isinstance(Run("one").generator(), Writer)
