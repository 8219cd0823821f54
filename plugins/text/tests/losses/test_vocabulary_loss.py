"""The chunked loss against the dense one, and what it must bear."""

import pytest
import torch

from limbeck_text.losses.divergences import forward_kl, log_probs, token_divergence
from limbeck_text.losses.head import Head
from limbeck_text.losses.vocabulary_loss import chunk_size, vocabulary_loss

N, H, H_TEACHER, V = 13, 6, 5, 11


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def parts(dtype=torch.float64, *, soft_cap=None, scale=1.0, bias=True):
    student = Head(
        weight=draw(V, H, seed=1, dtype=dtype).requires_grad_(True),
        bias=draw(V, seed=2, dtype=dtype).requires_grad_(True) if bias else None,
        soft_cap=soft_cap, scale=scale,
    )  # fmt: skip
    teacher = Head(
        weight=draw(V, H_TEACHER, seed=3, dtype=dtype), bias=draw(V, seed=4, dtype=dtype), soft_cap=3.0, scale=0.7
    )
    hidden = draw(N, H, seed=5, dtype=dtype).requires_grad_(True)
    return hidden, student, draw(N, H_TEACHER, seed=6, dtype=dtype), teacher, torch.arange(N) % V


def dense(
    hidden, head, divergence, teacher_hidden, teacher_head, labels, *, temperature, soft_weight, hard_weight, weight
):
    """The same loss as one would write it down: all logits at once."""
    z = hidden @ head.weight.T * head.scale + (0 if head.bias is None else head.bias * head.scale)
    z = z if head.soft_cap is None else head.soft_cap * torch.tanh(z / head.soft_cap)
    z_p = (teacher_hidden @ teacher_head.weight.T + teacher_head.bias) * teacher_head.scale
    z_p = teacher_head.soft_cap * torch.tanh(z_p / teacher_head.soft_cap)
    soft = divergence(log_probs(z_p, temperature), log_probs(z, temperature))
    hard = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    return (weight * (soft_weight * soft + hard_weight * hard)).sum() / len(hidden), soft, hard


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "generalized_jsd", "skewed_kl", "total_variation"])
@pytest.mark.parametrize("chunk", [1, 7, 13, 1000, None])
def test_every_chunk_size_equals_the_dense_loss_in_value_and_gradients(name, chunk):
    hidden, head, teacher_hidden, teacher_head, labels = parts(soft_cap=2.0, scale=1.3)
    weight = draw(N, seed=9).abs()
    divergence = token_divergence(name, beta=0.3)
    numbers = {"temperature": 1.7, "soft_weight": 2.1, "hard_weight": 0.4, "weight": weight}
    expected, soft, hard = dense(hidden, head, divergence, teacher_hidden, teacher_head, labels, **numbers)
    leaves = (hidden, head.weight, head.bias)
    gradients = torch.autograd.grad(expected, leaves)
    found = vocabulary_loss(
        hidden, head, divergence=divergence, teacher_hidden=teacher_hidden, teacher_head=teacher_head, labels=labels,
        chunk=chunk, **numbers,
    )  # fmt: skip
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(found.value, expected, **close)
    torch.testing.assert_close(found.soft, soft.detach(), **close)
    torch.testing.assert_close(found.hard, hard.detach(), **close)
    assert found.count == N and not found.soft.requires_grad
    for ours, theirs in zip(torch.autograd.grad(3.0 * found.value, leaves), gradients, strict=True):
        torch.testing.assert_close(ours, 3.0 * theirs, **close)
        assert theirs.abs().max() > 1e-3


@pytest.mark.parametrize("soft_cap", [None, 2.5])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradcheck_in_double_precision(soft_cap, temperature):
    hidden, head, teacher_hidden, teacher_head, labels = parts(soft_cap=soft_cap, scale=1.2)

    def loss(h, w, b):
        student = Head(weight=w, bias=b, soft_cap=soft_cap, scale=1.2)
        return vocabulary_loss(
            h, student, divergence=forward_kl, teacher_hidden=teacher_hidden, teacher_head=teacher_head,
            labels=labels, temperature=temperature, chunk=5,
        ).value  # fmt: skip

    assert torch.autograd.gradcheck(loss, (hidden, head.weight, head.bias))


def test_cross_entropy_alone_needs_no_teacher():
    hidden, head, *_, labels = parts(bias=False)
    found = vocabulary_loss(hidden, head, labels=labels, chunk=4)
    expected = torch.nn.functional.cross_entropy(hidden @ head.weight.T, labels)
    torch.testing.assert_close(found.value, expected, rtol=1e-12, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(found.value, (hidden, head.weight)),
        torch.autograd.grad(expected, (hidden, head.weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    assert found.soft is None and found.hard.shape == (N,)


def test_masked_tokens_are_never_computed_with_and_do_not_count():
    hidden, head, teacher_hidden, teacher_head, labels = parts()
    mask = torch.arange(N) % 3 != 0
    poisoned, labels = teacher_hidden.clone(), labels.clone()
    poisoned[~mask], labels[~mask] = float("nan"), -100
    given = {"divergence": forward_kl, "teacher_head": teacher_head, "chunk": 2}
    found = vocabulary_loss(hidden, head, teacher_hidden=poisoned, labels=labels, mask=mask, **given)
    alone = vocabulary_loss(hidden[mask], head, teacher_hidden=teacher_hidden[mask], labels=labels[mask], **given)
    torch.testing.assert_close(found.value, alone.value)
    assert found.count == mask.sum() and found.value > 0.1
    assert (
        torch.equal(found.soft[mask], alone.soft) and (found.soft[~mask] == 0).all() and (found.hard[~mask] == 0).all()
    )
    (gradient,) = torch.autograd.grad(found.value, hidden)
    assert (gradient[~mask] == 0).all() and (gradient[mask].abs().sum(-1) > 0).all()


def test_leading_axes_are_kept_and_the_sum_is_the_mean_times_the_count():
    hidden, head, teacher_hidden, teacher_head, _ = parts()
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 2:] = False
    given = {"divergence": forward_kl, "teacher_head": teacher_head, "mask": mask}
    given |= {"teacher_hidden": teacher_hidden[:12].reshape(2, 6, H_TEACHER)}
    mean = vocabulary_loss(hidden[:12].reshape(2, 6, H), head, **given)
    total = vocabulary_loss(hidden[:12].reshape(2, 6, H), head, reduction="sum", **given)
    assert mean.soft.shape == (2, 6) and mean.count == 8
    torch.testing.assert_close(total.value, 8 * mean.value)
    torch.testing.assert_close(total.value, mean.soft.sum())


def test_no_valid_token_is_a_zero_loss_with_zero_gradients():
    hidden, head, teacher_hidden, teacher_head, labels = parts()
    found = vocabulary_loss(
        hidden, head, divergence=forward_kl, teacher_hidden=teacher_hidden, teacher_head=teacher_head, labels=labels,
        mask=torch.zeros(N, dtype=torch.bool),
    )  # fmt: skip
    assert found.value == 0 and found.count == 0 and found.value.requires_grad
    for gradient in torch.autograd.grad(found.value, (hidden, head.weight, head.bias)):
        assert (gradient == 0).all()


def test_only_what_learns_gets_a_gradient():
    hidden, head, *_, labels = parts()
    frozen = Head(weight=head.weight.detach(), bias=None)
    found = vocabulary_loss(hidden, frozen, labels=labels)
    assert found.value.grad_fn.gradients[1] is None, "an adapter's frozen head must cost no gradient of its size"
    found.value.backward()
    assert hidden.grad.abs().sum() > 0
    only_head = vocabulary_loss(hidden.detach(), head, labels=labels)
    assert only_head.value.grad_fn.gradients[0] is None
    only_head.value.backward()
    assert head.weight.grad.abs().sum() > 0 and head.bias.grad.abs().sum() > 0
    with torch.no_grad():
        silent = vocabulary_loss(hidden, head, labels=labels)
    assert not silent.value.requires_grad and silent.value == only_head.value.detach()


def test_the_graph_may_be_used_twice():
    hidden, head, *_, labels = parts()
    value = vocabulary_loss(hidden, head, labels=labels).value
    first = torch.autograd.grad(value, hidden, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(value, hidden)[0])


def test_autocast_multiplies_in_bfloat16_and_keeps_the_rest_in_float32():
    hidden, head, teacher_hidden, teacher_head, labels = parts(torch.float32)
    given = {"divergence": forward_kl, "teacher_hidden": teacher_hidden, "teacher_head": teacher_head, "labels": labels}
    exact = vocabulary_loss(hidden, head, **given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = vocabulary_loss(hidden, head, chunk=4, **given)
    assert found.value.dtype == torch.float32 and 0 < abs(found.value - exact.value) < 0.03 * exact.value
    for ours, theirs in zip(
        torch.autograd.grad(found.value, (hidden, head.weight, head.bias)),
        torch.autograd.grad(exact.value, (hidden, head.weight, head.bias)),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02 * float(theirs.abs().max()))


def test_a_model_in_bfloat16_gets_gradients_in_bfloat16_that_were_added_up_in_float32():
    hidden, head, *_ = parts(torch.float32, bias=False)
    rows = 2000
    many = draw(rows, H, seed=8, dtype=torch.bfloat16).requires_grad_(True)
    labels = torch.arange(rows) % V
    half = Head(weight=head.weight.detach().to(torch.bfloat16).requires_grad_(True))
    found = vocabulary_loss(many, half, labels=labels, chunk=1, reduction="sum")
    found.value.backward()
    assert half.weight.grad.dtype == torch.bfloat16 and found.hard.dtype == torch.float32
    exact = Head(weight=half.weight.detach().float().requires_grad_(True))
    vocabulary_loss(many.detach().float(), exact, labels=labels, reduction="sum").value.backward()
    error = (half.weight.grad.float() - exact.weight.grad).abs().max() / exact.weight.grad.abs().max()
    assert error < 0.01, error  # 2,000 additions in bfloat16 itself would be wrong by tens of per cent


def test_the_chunk_is_chosen_from_the_vocabulary():
    assert chunk_size(131_072, torch.empty(0)) == 128
    assert chunk_size(131_072, torch.empty(0, dtype=torch.float64)) == 64
    assert chunk_size(1_000, torch.empty(0)) == 524  # small ones stay in the caches
    assert chunk_size(131_072, torch.empty(0, device="meta")) == 1024
    assert chunk_size(10**10, torch.empty(0)) == 1


def test_wrong_use_is_refused_with_the_hint():
    hidden, head, teacher_hidden, teacher_head, labels = parts()
    with pytest.raises(ValueError, match="neither a divergence nor labels"):
        vocabulary_loss(hidden, head)
    with pytest.raises(ValueError, match="give teacher_hidden and teacher_head"):
        vocabulary_loss(hidden, head, divergence=forward_kl)
    larger = Head(weight=torch.zeros(V + 3, H_TEACHER, dtype=torch.float64))
    with pytest.raises(ValueError, match="teacher's head has 14 tokens and the student's 11. Cut both"):
        vocabulary_loss(hidden, head, divergence=forward_kl, teacher_hidden=teacher_hidden, teacher_head=larger)
    with pytest.raises(ValueError, match=r"teacher_hidden is \(12, 5\) and hidden \(13, 6\)"):
        vocabulary_loss(
            hidden, head, divergence=forward_kl, teacher_hidden=teacher_hidden[1:], teacher_head=teacher_head
        )


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "generalized_jsd"])
def test_a_token_that_both_heads_rule_out_adds_nothing_and_no_nan(name):
    hidden, head, teacher_hidden, teacher_head, _ = parts()
    ruled_out = torch.zeros(V, dtype=torch.float64)
    ruled_out[3] = -float("inf")
    kept = torch.arange(V) != 3
    student = Head(weight=head.weight, bias=ruled_out)
    teacher = Head(weight=teacher_head.weight, bias=ruled_out)
    given = {"divergence": token_divergence(name), "teacher_hidden": teacher_hidden}
    found = vocabulary_loss(hidden, student, teacher_head=teacher, **given)
    without = vocabulary_loss(
        hidden, Head(weight=head.weight[kept]), teacher_head=Head(weight=teacher_head.weight[kept]), **given
    )
    torch.testing.assert_close(found.value, without.value, rtol=1e-12, atol=0)
    gradient = torch.autograd.grad(found.value, head.weight)[0]
    assert gradient.isfinite().all() and (gradient[3] == 0).all() and found.value > 0.1
