"""Checks of generators and teachers that are no predictors: scenes (ability `renders`), language models (`log_probs`,
`generates`). Letters: B batch, P prompt, L sequence, V vocabulary, H W pixels.

Every check's docstring is what a plugin author reads when it fails.
"""

from typing import Any

import torch
from torch import Tensor

import limbeck
from limbeck.conditions import Conditions
from limbeck.networks.scenes import Render, Scene
from limbeck.testing.conformance.inputs import ROWS, close, made
from limbeck.testing.conformance.report import Case, check_for

# --- scenes ----------------------------------------------------------------------------------------------------------


def scene(case: Case) -> Any:
    case.needs("renders")
    model = made(case)
    assert isinstance(model, Scene), f"declares 'renders', but {type(model).__name__} is no limbeck.Scene"
    return model


def views(case: Case) -> Any:
    """The conditions given, or ROWS cameras around the origin, each in front of a background of its own."""
    given = case.conditions(ROWS)
    if given is not None:
        return given
    return Conditions(
        azimuth=torch.linspace(0, 270, ROWS),
        elevation=torch.linspace(-20, 60, ROWS),
        distance=torch.full((ROWS,), 3.0),
        fov=torch.full((ROWS,), 40.0),
        background=torch.linspace(-1, 1, 3 * ROWS).reshape(ROWS, 3),
    )


@check_for("generator")
def a_scene_renders_what_its_cameras_see(case: Case) -> None:
    """ability `renders`: forward(cond) is a limbeck.Render: image (B, *space.event) and alpha (B, 1, H, W) in [0, 1],
    finite, the same every time, and a row does not depend on the others."""
    model, cond = scene(case), views(case)
    with torch.no_grad():
        seen, again = model(cond), model(cond)
        first = model(cond[:1]).image
    assert isinstance(seen, Render), f"forward returned {type(seen).__name__}, expected limbeck.Render"
    expected = (len(cond), *model.space.event)
    assert seen.image.shape == expected, f"image has shape {tuple(seen.image.shape)}, expected {expected}"
    assert seen.alpha.shape == (len(cond), 1, *expected[2:]), f"alpha has shape {tuple(seen.alpha.shape)}"
    assert bool(seen.image.isfinite().all()) and bool(seen.alpha.isfinite().all()), "the render is not finite"
    assert float(seen.alpha.min()) >= 0 and float(seen.alpha.max()) <= 1 + 1e-5, "alpha lies in [0, 1]"
    assert torch.equal(seen.image, again.image), "the same cameras gave two renders"
    close(first, seen.image[:1], "the first view alone and among others")


@check_for("generator")
def a_render_carries_gradients_and_penalties_by_row(case: Case) -> None:
    """ability `renders`: a gradient of the image reaches the parameters and is finite; penalties are (B,) each."""
    model, cond = scene(case).train(), views(case)
    seen = model(cond)
    weights = limbeck.rng(0, 0, "conformance").normal(
        "weights", seen.image.shape
    )  # no colour is a fixed point of these
    (seen.image * weights).sum().backward()
    reached = [p.grad for p in model.parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0]
    assert reached, "no gradient of the image reaches any parameter"
    assert all(bool(grad.isfinite().all()) for grad in reached), "some gradients are not finite"
    for name, values in seen.penalties.items():
        assert values.shape == (len(cond),), f"penalty {name!r}: shape {tuple(values.shape)}, expected ({len(cond)},)"


# --- language models -------------------------------------------------------------------------------------------------


def tokens(model: Any, length: int = 8) -> Tensor:
    """(ROWS, length) int64 of the true vocabulary."""
    vocab = getattr(model, "vocab", None)
    assert isinstance(vocab, int) and vocab > 1, f"a language model gives its true vocabulary: model.vocab is {vocab!r}"
    return limbeck.rng(0, 0, "conformance").integers("tokens", vocab, (ROWS, length))


@check_for("teacher", "generator")
def a_language_model_predicts_the_next_token_from_those_before(case: Case) -> None:
    """ability `log_probs`: forward(tokens, attention_mask) returns finite logits (B, L, V) over the true vocabulary
    (`model.vocab`); those at position i do not change with tokens behind i, nor with padding behind them."""
    case.needs("log_probs")
    model = made(case)
    given = tokens(model)
    other = given.clone()
    other[:, -1] = (other[:, -1] + 1) % model.vocab
    mask = torch.ones_like(given, dtype=torch.bool)
    mask[:, -2:] = False
    with torch.no_grad():
        logits, changed, padded = model(given), model(other), model(given, mask)
    assert logits.shape == (*given.shape, model.vocab), (
        f"logits have shape {tuple(logits.shape)}, expected {(*given.shape, model.vocab)}"
    )
    assert bool(logits.isfinite().all()), "logits are not finite"
    close(changed[:, :-1], logits[:, :-1], "logits depend on a token that comes later")
    close(padded[:, :-2], logits[:, :-2], "logits depend on padding behind them", rtol=1e-3, atol=1e-4)
    assert not torch.equal(changed[:, -1], logits[:, -1]), "logits do not depend on the last token"


@check_for("teacher", "generator")
def a_language_model_continues_prompts(case: Case) -> None:
    """ability `generates`: generate_tokens(prompt (B, P), mask, length=, rng=) returns tokens (B, P + length) that
    begin with the prompt, and their mask; the same for the same rng, others for another; greedy follows the logits."""
    case.needs("generates")
    model = made(case)
    prompt = tokens(model, 3)
    mask = torch.ones_like(prompt, dtype=torch.bool)

    def write(seed: int, **how: Any) -> tuple[Tensor, Tensor]:
        return model.generate_tokens(prompt, mask, length=4, rng=limbeck.rng(seed), **how)

    (first, real), (again, _), (other, _) = write(0), write(0), write(1)
    assert first.shape == real.shape == (ROWS, 7), f"shape {tuple(first.shape)}, expected ({ROWS}, 7)"
    assert torch.equal(first[:, :3], prompt), "the prompt was changed"
    assert torch.equal(first, again), "the same rng wrote two texts"
    assert not torch.equal(first, other), "the rng does not matter"
    greedy, _ = write(0, temperature=0.0)
    with torch.no_grad():
        likeliest = model(prompt)[:, -1].argmax(-1)
    assert torch.equal(greedy[:, 3], likeliest), "at temperature 0 the next token is not the likeliest"


@check_for("generator")
def a_language_model_learns(case: Case) -> None:
    """ability `log_probs`: the cross entropy of the next token has a finite gradient in its parameters."""
    case.needs("log_probs")
    model = case.make().train()
    given = tokens(model)
    loss = torch.nn.functional.cross_entropy(model(given)[:, :-1].flatten(0, 1).float(), given[:, 1:].flatten())
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
    assert grads and any(float(g.abs().sum()) > 0 for g in grads), "no gradient reaches any parameter"
    assert all(bool(g.isfinite().all()) for g in grads), "some gradients are not finite"
