"""Peers that install from PyPI as second oracles for the losses on text: TRL's generalized JSD, Liger's chunked one.

Agreement is asked for where they are right. Where they are not, and ours differs on purpose:

- TRL's GKDTrainer has a `temperature`, but it is that of the sampling alone: its loss is always at 1 (the static
  function compared with here does take one). Neither peer multiplies by T^2: a higher temperature shrinks the loss too.
- TRL's reduction "batchmean" divides by the number of sequences without labels, and with labels by the tokens of the
  micro-batch, which is wrong under accumulation unless num_items_in_batch is given.
- Liger pads the *student's* logits with zeros where the teacher's matrix has more rows: the student then gives exp(0)
  to tokens that do not exist. Ours compares over the true vocabulary and refuses two sizes.
- Both special-case beta 0 and 1 as forward and reverse KL; so does ours, because the interior's limits are 0.
"""

import time

import pytest
import torch

from limbeck_text.losses.divergences import generalized_jsd, log_probs, token_divergence
from limbeck_text.losses.head import Head
from limbeck_text.losses.vocabulary_loss import vocabulary_loss

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)
N, V, H_STUDENT, H_TEACHER = 24, 17, 6, 9


def draw(*shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def trl_loss():
    gkd = pytest.importorskip("trl.experimental.gkd", reason="compares with TRL: pip install trl")
    return gkd.GKDTrainer.generalized_jsd_loss


@pytest.fixture(scope="module")
def liger():
    return pytest.importorskip("liger_kernel.chunked_loss", reason="compares with Liger: pip install liger-kernel")


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_generalized_jsd_equals_trls_in_value_and_gradient(trl_loss, beta, temperature):
    z_q, z_p = draw(2, 12, V, seed=1) * 2, draw(2, 12, V, seed=2) * 2
    labels = torch.where(torch.arange(24).reshape(2, 12) % 5 == 0, -100, 3)
    z_q.requires_grad_(True)
    theirs = trl_loss(
        z_q, z_p, labels=labels, beta=beta, temperature=temperature, num_items_in_batch=(labels != -100).sum()
    )
    (their_gradient,) = torch.autograd.grad(theirs, z_q)
    per_token = generalized_jsd(log_probs(z_p, temperature), log_probs(z_q, temperature), beta)
    ours = per_token[labels != -100].mean()
    (our_gradient,) = torch.autograd.grad(ours, z_q)
    assert theirs > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_the_fused_loss_equals_trls_on_dense_logits_in_float32(trl_loss, beta):
    hidden, weight = draw(N, H_STUDENT, seed=3, dtype=torch.float32), draw(V, H_STUDENT, seed=4, dtype=torch.float32)
    t_hidden, t_weight = (
        draw(N, H_TEACHER, seed=5, dtype=torch.float32),
        draw(V, H_TEACHER, seed=6, dtype=torch.float32),
    )
    theirs = trl_loss((hidden @ weight.T)[None], (t_hidden @ t_weight.T)[None], beta=beta) / N
    ours = vocabulary_loss(
        hidden, Head(weight=weight), divergence=token_divergence("generalized_jsd", beta=beta),
        teacher_hidden=t_hidden, teacher_head=Head(weight=t_weight), chunk=5,
    )  # fmt: skip
    torch.testing.assert_close(ours.value, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("chunk", [1, 7, 1024])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_fused_loss_equals_ligers_chunked_one_in_value_and_gradients(liger, beta, chunk, temperature):
    hidden, weight, bias = (
        draw(*shape, seed=seed, dtype=torch.float32).requires_grad_(True)
        for shape, seed in (((N, H_STUDENT), 3), ((V, H_STUDENT), 4), ((V,), 7))
    )
    t_hidden, t_weight = (
        draw(N, H_TEACHER, seed=5, dtype=torch.float32),
        draw(V, H_TEACHER, seed=6, dtype=torch.float32),
    )
    labels = torch.where(torch.arange(N) % 5 == 0, -100, torch.arange(N) % V)
    peer = liger.LigerFusedLinearJSDLoss(
        weight_hard_loss=0.3, weight_soft_loss=0.7, beta=beta, temperature=temperature, compiled=False, chunk_size=chunk
    )
    theirs = peer(hidden, weight, t_hidden, t_weight, labels, bias)
    ours = vocabulary_loss(
        hidden, Head(weight=weight, bias=bias), divergence=token_divergence("generalized_jsd", beta=beta),
        teacher_hidden=t_hidden, teacher_head=Head(weight=t_weight), labels=labels, mask=labels != -100,
        temperature=temperature, hard_weight=0.3, soft_weight=0.7, chunk=chunk,
    )  # fmt: skip
    torch.testing.assert_close(ours.value, theirs, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(theirs, (hidden, weight, bias))
    for mine, other in zip(torch.autograd.grad(ours.value, (hidden, weight, bias)), gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
        assert other.abs().max() > 1e-3


def test_ligers_zero_padding_lets_the_student_speak_tokens_that_do_not_exist(liger):
    hidden, weight = draw(N, H_STUDENT, seed=3, dtype=torch.float32), draw(V, H_STUDENT, seed=4, dtype=torch.float32)
    padded = torch.cat([weight, torch.zeros(3, H_STUDENT)])  # the same model, its matrix rounded up
    labels = torch.zeros(N, dtype=torch.int64)
    peer = liger.LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, compiled=False)
    other = draw(V, H_STUDENT, seed=8, dtype=torch.float32)
    theirs = peer(hidden, other, hidden, padded, labels)
    true = vocabulary_loss(
        hidden, Head(weight=other), divergence=token_divergence("forward_kl"), teacher_hidden=hidden,
        teacher_head=Head(weight=padded[:V]),
    ).value  # fmt: skip
    assert abs(theirs - true) > 0.01 * true
    with pytest.raises(ValueError, match="teacher's head has 20 tokens and the student's 17. Cut both"):
        vocabulary_loss(
            hidden, Head(weight=other), divergence=token_divergence("forward_kl"), teacher_hidden=hidden,
            teacher_head=Head(weight=padded),
        )  # fmt: skip


# --- on a GPU --------------------------------------------------------------------------------------------------------


def timed_on_gpu(step):
    """Milliseconds per call and peak GiB above what was there, after one call to warm up."""
    step()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(5):
        step()
    torch.cuda.synchronize()
    return 200 * (time.perf_counter() - start), (torch.cuda.max_memory_allocated() - before) / 2**30


@pytest.mark.gpu
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_on_a_gpu_the_fused_loss_needs_no_more_memory_than_ligers_and_a_fraction_of_the_dense_one(liger, beta, capsys):
    tokens, vocab, width = 8192, 131_072, 2048
    device, kind = "cuda", torch.bfloat16
    hidden, t_hidden = torch.randn(2, tokens, width, device=device, dtype=kind)
    weight, t_weight = (torch.randn(vocab, width, device=device, dtype=kind) / width**0.5 for _ in range(2))
    labels = torch.randint(vocab, (tokens,), device=device)
    hidden.requires_grad_(True)
    weight.requires_grad_(True)
    divergence = token_divergence("generalized_jsd", beta=beta)
    peer = liger.LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta, compiled=True)

    def ours():
        return vocabulary_loss(
            hidden,
            Head(weight=weight),
            divergence=divergence,
            teacher_hidden=t_hidden,
            teacher_head=Head(weight=t_weight),
        ).value

    def theirs():
        return peer(hidden, weight, t_hidden, t_weight, labels)

    def dense():
        return divergence(log_probs(t_hidden @ t_weight.T), log_probs(hidden @ weight.T)).mean()

    found = {}
    for name, loss in (("ours", ours), ("liger", theirs), ("dense", dense)):

        def step(loss=loss):
            hidden.grad = weight.grad = None
            loss().backward()

        try:
            ms, gib = timed_on_gpu(step)
        except torch.cuda.OutOfMemoryError:
            ms, gib = float("inf"), float("inf")
        found[name] = ms, gib
        torch.cuda.empty_cache()
    with capsys.disabled():
        print(f"\nbeta {beta}: " + ", ".join(f"{k} {ms:.0f} ms {gib:.2f} GiB" for k, (ms, gib) in found.items()))
    torch.testing.assert_close(ours().float(), theirs().float(), rtol=2e-2, atol=1e-3)  # Liger stays in bfloat16
    weights = 4 * vocab * width / 2**30  # ours adds up the weight's gradient in float32, and casts it
    assert found["ours"][1] < max(found["liger"][1], 0.15 * found["dense"][1]) + 2 * weights
    assert found["ours"][0] < 1.3 * min(found["liger"][0], found["dense"][0])
