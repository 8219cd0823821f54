"""Objectives on next tokens, against enumeration on a language of four tokens; their sources; what they refuse."""

import itertools
import json
import math

import pytest
import torch
from torch import nn

import limbeck
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Generator, Space, Teacher
from limbeck.runs.build import weights_of
from limbeck_diffusion.sources.sources import rows_of
from limbeck_text.losses.head import Head
from limbeck_text.sources.completions import OnPolicySource, TeacherTextSource, continued, prompts_of, translated

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


class Words(Data):
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


def brute_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def laws(model, tokens):
    return model(tokens)[:, :-1].softmax(-1).tolist()


# --- values ----------------------------------------------------------------------------------------------------------


def test_forward_and_reverse_kl_are_the_mean_over_positions_that_have_a_next_token():
    batch = Words().batch(torch.arange(3))
    for name, flip in (("fkl", False), ("rkl", True)):
        objective, student, teacher = make(name, chunk=2)
        p, q = laws(teacher, batch.x0), laws(student, batch.x0)
        if flip:
            p, q = q, p
        expected = sum(brute_kl(p[b][i], q[b][i]) for b in range(3) for i in range(5)) / 15
        loss = loss_of(objective, batch)
        assert loss.value.item() == pytest.approx(expected, abs=1e-12) and expected > 0.05
        assert loss.count == 15 and loss.terms["divergence"] == pytest.approx(expected, abs=1e-9)
        loss.backward()
        assert student.weight.grad.abs().max() > 1e-3 and student.embedding.grad.abs().max() > 1e-3
        assert teacher.weight.grad is None and teacher.embedding.grad is None


def test_hintons_objective_is_cross_entropy_and_a_softened_divergence():
    batch = Words().batch(torch.arange(3))
    objective, student, teacher = make("kd", weight=0.3, temperature=2.0)
    z_p, z_q, y = teacher(batch.x0)[:, :-1], student(batch.x0)[:, :-1], batch.x0[:, 1:]
    ce = nn.functional.cross_entropy(z_q.flatten(0, 1), y.flatten())
    p, log_q = (z_p / 2).softmax(-1), (z_q / 2).log_softmax(-1)
    kl = (p * (p.log() - log_q)).sum(-1).mean()
    loss = loss_of(objective, batch)
    assert loss.value.item() == pytest.approx((0.7 * ce + 0.3 * 4 * kl).item(), abs=1e-12)
    assert loss.terms["cross_entropy"] == pytest.approx(ce.item(), abs=1e-9)
    assert loss.terms["divergence"] == pytest.approx(kl.item(), abs=1e-9)


def test_the_ends_of_jsd_are_the_two_kls_and_its_middle_is_bounded():
    batch = Words().batch(torch.arange(4))
    values = {beta: loss_of(make("jsd", beta=beta)[0], batch).value.item() for beta in (0.0, 0.5, 1.0)}
    assert values[0.0] == loss_of(make("fkl")[0], batch).value.item()
    assert values[1.0] == loss_of(make("rkl")[0], batch).value.item()
    assert 0.001 < values[0.5] < math.log(2)


@pytest.mark.parametrize("name", ["fkl", "rkl", "jsd", "gkd"])
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name):
    objective, student, _ = make(name, teacher_seed=1, student_seed=1)
    loss = loss_of(objective, Words().batch(torch.arange(4)))
    loss.backward()
    assert abs(loss.value.item()) < 1e-15 and student.weight.grad.abs().max() < 1e-15


def sequences():
    """Every text of two tokens after the prompt `a`, with its probability under a model."""
    x0 = torch.tensor([[0, i, j] for i, j in itertools.product(range(V), repeat=2)])
    return x0, torch.tensor([[False, True, True]]).expand(len(x0), -1)


def probability(model, x0):
    log_p = model(x0)[:, :-1].log_softmax(-1).gather(-1, x0[:, 1:, None]).squeeze(-1)
    return log_p.sum(1).exp().detach()


def test_on_policy_distillation_has_the_exact_expectation_over_the_students_texts():
    # E_{y ~ q} mean_t KL(p(.|y_<t) || q(.|y_<t)), no gradient through q's choice of y
    objective, student, teacher = make("gkd", beta=0.0)
    x0, mask = sequences()
    q_y = probability(student, x0)
    loss = loss_of(objective, Batch(x0=x0, loss_mask=mask, weight=q_y))
    z_p, z_q = teacher(x0)[:, :-1].detach(), student(x0)[:, :-1]
    kl = (z_p.softmax(-1) * (z_p.log_softmax(-1) - z_q.log_softmax(-1))).sum(-1).mean(1)
    expected = (q_y * kl).sum()
    assert q_y.sum() == pytest.approx(1.0, abs=1e-12) and loss.count is None
    assert loss.value.item() == pytest.approx(expected.item(), abs=1e-12)
    (ours,) = torch.autograd.grad(loss.value, student.weight)
    (theirs,) = torch.autograd.grad(expected, student.weight)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    assert theirs.abs().max() > 1e-3


def test_sequence_distillation_less_the_teachers_entropy_is_the_kl_of_sequences():
    objective, student, teacher = make("seq_kd")
    x0, mask = sequences()
    p_y, q_y = probability(teacher, x0), probability(student, x0)
    loss = loss_of(objective, Batch(x0=x0, loss_mask=mask, weight=p_y))
    entropy = -(p_y * p_y.log()).sum()
    kl = (p_y * (p_y / q_y).log()).sum()
    assert (2 * loss.value - entropy).item() == pytest.approx(kl.item(), abs=1e-12) and kl > 0.05


# --- masks -----------------------------------------------------------------------------------------------------------


def test_prompts_and_padding_do_not_count_on_either_side():
    objective, student, teacher = make("fkl")
    x0 = torch.tensor([[0, 0, 2, 1, 3, 0], [1, 2, 3, 1, 0, 0]])
    attention = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]).bool()
    learned = torch.tensor([[0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0]]).bool()
    for loss_mask, expected in ((learned, [(0, 3), (1, 1), (1, 2)]), (None, [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2)])):
        loss = loss_of(objective, Batch(x0=x0, attention_mask=attention, loss_mask=loss_mask))
        p = teacher(x0, attention)[:, :-1].softmax(-1).tolist()
        q = student(x0, attention)[:, :-1].softmax(-1).tolist()
        mean = sum(brute_kl(p[b][i], q[b][i]) for b, i in expected) / len(expected)
        assert loss.count == len(expected) and loss.value.item() == pytest.approx(mean, abs=1e-12)


def test_empty_completions_are_counted_and_a_batch_of_nothing_else_is_refused():
    objective, student, _ = make("fkl")
    x0 = Words().batch(torch.arange(4)).x0
    learned = torch.ones_like(x0, dtype=torch.bool)
    learned[0] = learned[2] = False
    loss = loss_of(objective, Batch(x0=x0, loss_mask=learned))
    assert loss.terms["empty_rows"] == 0.5 and loss.count == 10
    full = loss_of(objective, Batch(x0=x0[[1, 3]]))
    assert loss.value.item() == pytest.approx(full.value.item(), abs=1e-12) and full.terms["empty_rows"] == 0
    nothing = Batch(x0=x0, loss_mask=torch.zeros_like(learned))
    with pytest.raises(
        LimbeckError, match="none of the 4 sequences of this batch has a token to learn: every completion"
    ):
        loss_of(objective, nothing)
    (phase,) = objective.phases(0)  # a part of a batch may be empty: the others have tokens
    part = objective.loss(phase, nothing, limbeck.rng(0, 0, phase, part=1, parts=2))
    part.backward()
    assert part.value == 0 and part.count == 0 and (student.weight.grad == 0).all()


@pytest.mark.parametrize("name", ["fkl", "gkd"])
def test_accumulation_equals_one_batch_when_completions_are_uneven(tmp_path, name):
    objective = {"use": name} | ({"student_fraction": 1.0} if name == "gkd" else {})

    def train(folder, accumulate):
        limbeck.distill(
            {
                "name": "tiny", "teacher": TinyLM(1), "generator": {"use": TinyLM(2), "init": "random"},
                "objective": objective, "data": Words(masks=True),
                "train": {
                    "steps": 4, "batch_size": 8, "lr": 0.1, "optimizer": "sgd", "accumulate": accumulate,
                    "log_every": 1,
                },
                "sampling": None, "evaluate": {"metrics": [], "compare": False, "grid": 0, "samples": 1},
                "report": {"write": False},
            },
            out=tmp_path / folder, progress=False,
        )  # fmt: skip
        return weights_of(str(tmp_path / folder))

    whole, again, parts = train("whole", 1), train("again", 1), train("parts", 4)
    for key, tensor in whole.items():
        assert torch.equal(again[key], tensor)  # the student's own texts, too, are a function of the seed
        torch.testing.assert_close(parts[key], tensor, rtol=0, atol=1e-7)
        assert (tensor - TinyLM(2).state_dict()[key]).abs().max() > 1e-3
    rows = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert all("divergence" in row and "empty_rows" in row for row in rows if "loss" in row)


@pytest.mark.parametrize("name", ["gkd", "seq_kd"])
def test_a_run_on_generated_texts_goes_on_where_it_stopped_bit_by_bit(tmp_path, name):
    """gkd draws texts of its own student, seq_kd the teacher's: neither may depend on what was drawn before."""

    def train(folder, steps, resume=False):
        limbeck.distill(
            {
                "name": "tiny", "teacher": TinyLM(1), "generator": {"use": TinyLM(2), "init": "random"},
                "objective": name, "data": Words(masks=True),
                "train": {"steps": steps, "batch_size": 4, "lr": 0.05, "log_every": 1},
                "sampling": None, "evaluate": {"metrics": [], "compare": False, "grid": 0, "samples": 1},
                "report": {"write": False},
            },
            out=tmp_path / folder, progress=False, resume=resume,
        )  # fmt: skip
        return weights_of(str(tmp_path / folder))

    calm, half = train("calm", 6), train("stopped", 3)
    whole = train("stopped", 6, resume=True)
    assert all(torch.equal(whole[key], tensor) for key, tensor in calm.items())
    assert any((whole[key] - tensor).abs().max() > 1e-4 for key, tensor in half.items())


# --- texts of the student and of the teacher -------------------------------------------------------------------------


def test_prompts_are_what_comes_before_the_first_learned_token():
    x0 = torch.tensor([[2, 1, 0, 3], [1, 2, 3, 1]])
    learned = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]]).bool()
    tokens, mask = prompts_of(Batch(x0=x0, loss_mask=learned), 9)
    assert tokens.tolist() == [[2, 1], [0, 1]] and mask.tolist() == [[True, True], [False, True]]
    tokens, mask = prompts_of(Batch(x0=x0), 3)
    assert tokens.tolist() == x0[:, :3].tolist() and mask.all()
    padded = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    tokens, mask = prompts_of(Batch(x0=x0, attention_mask=padded), 2)
    assert tokens.tolist() == [[1, 0], [1, 2]]
    with pytest.raises(LimbeckError, match=r"row 1 of the batch has an empty prompt \(1 of 2 have\)"):
        prompts_of(Batch(x0=x0, loss_mask=torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()), 2)
    with pytest.raises(LimbeckError, match="a prompt of 4 tokens leaves nothing to continue in sequences of 4"):
        prompts_of(Batch(x0=x0), 4)


def test_a_completion_is_learned_up_to_its_end_and_padding_is_not():
    model = TinyLM(4)
    with torch.no_grad():
        model.weight[EOS] *= 4  # ends often
    prompt = torch.zeros(16, 2, dtype=torch.int64)
    batch = continued(
        model,
        prompt,
        torch.ones_like(prompt, dtype=torch.bool),
        length=5,
        temperature=1.0,
        top_p=1.0,
        rng=limbeck.rng(0),
    )
    assert batch.x0.shape == (16, 7) and not batch.loss_mask[:, :2].any()
    ends = 0
    for row, learned in zip(batch.x0.tolist(), batch.loss_mask.tolist(), strict=True):
        written = row[2:]
        stop = written.index(EOS) + 1 if EOS in written else 5
        ends += EOS in written
        assert learned[2:] == [True] * stop + [False] * (5 - stop)
    assert 0 < ends < 16
    with pytest.raises(LimbeckError, match="2 tokens and 11 to continue it are 13, and the model's context is 12"):
        continued(model, prompt, prompt == 0, length=11, temperature=1.0, top_p=1.0, rng=limbeck.rng(0))


def test_the_share_of_batches_that_the_student_writes_is_the_fraction_asked_for():
    objective, student, teacher = make("gkd", student_fraction=0.3)
    source = OnPolicySource(data=Words(), generator=student, teacher=teacher, objective=objective, prompt=2)
    written = sum(source.batch(2, limbeck.rng(0, step, "generator")).loss_mask is not None for step in range(400))
    assert 0.3 - 0.07 < written / 400 < 0.3 + 0.07  # three standard deviations
    for fraction, expected in ((0.0, 0), (1.0, 20)):
        always = OnPolicySource(data=Words(), generator=student, student_fraction=fraction, prompt=2)
        assert sum(always.batch(2, limbeck.rng(0, s, "g")).loss_mask is not None for s in range(20)) == expected


def test_texts_of_the_student_are_a_function_of_the_draws_and_do_not_depend_on_how_a_batch_is_split():
    student = TinyLM(2).train()
    source = OnPolicySource(data=Words(), generator=student, student_fraction=1.0, prompt=2)
    whole = source.batch(8, limbeck.rng(0, 3, "generator"))
    again = source.batch(8, limbeck.rng(0, 3, "generator"))
    parts = [source.batch(4, limbeck.rng(0, 3, "generator", part=k, parts=2)) for k in range(2)]
    assert torch.equal(whole.x0, again.x0) and student.training
    assert torch.equal(whole.x0, torch.cat([part.x0 for part in parts]))
    assert not torch.equal(whole.x0, source.batch(8, limbeck.rng(0, 4, "generator")).x0)
    assert torch.equal(whole.x0[:, :2], Words().batch(whole_rows(8, 3)).x0[:, :2])


def whole_rows(size, step):
    return rows_of(limbeck.rng(0, step, "generator"), size, 40)


def test_the_students_own_texts_are_learned_from_without_a_gradient_through_their_choice():
    objective, student, teacher = make("gkd", student_fraction=1.0, beta=0.0)
    source = OnPolicySource(data=Words(), generator=student, teacher=teacher, objective=objective, prompt=2)
    batch = source.batch(6, limbeck.rng(0, 0, "generator"))
    loss = loss_of(objective, batch)
    fixed = Batch(x0=batch.x0.clone(), attention_mask=batch.attention_mask, loss_mask=batch.loss_mask)
    (ours,) = torch.autograd.grad(loss.value, student.weight)
    (theirs,) = torch.autograd.grad(loss_of(objective, fixed).value, student.weight)
    assert torch.equal(ours, theirs) and ours.abs().max() > 1e-4


def test_the_teachers_texts_are_written_once_and_gone_through_epoch_by_epoch():
    teacher = TinyLM(1).freeze()
    source = TeacherTextSource(data=Words(), teacher=teacher, count=10, chunk=4, prompt=2)
    texts = source.texts()
    calls = teacher.calls
    epoch = torch.cat([source.batch(5, limbeck.rng(0, step, "generator")).x0 for step in range(2)])
    assert teacher.calls == calls and texts.x0.shape == (10, 6)
    assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, texts.x0.tolist()))
    longer = TeacherTextSource(data=Words(), teacher=teacher, count=14, chunk=4, prompt=2).texts()
    assert torch.equal(longer.x0[:10], texts.x0)
    other = TeacherTextSource(data=Words(), teacher=teacher, count=10, chunk=4, prompt=2, seed=1).texts()
    assert not torch.equal(other.x0, texts.x0)
    fresh = TeacherTextSource(data=Words(), teacher=teacher, count=0, prompt=2)
    assert not torch.equal(fresh.batch(4, limbeck.rng(0, 0, "g")).x0, fresh.batch(4, limbeck.rng(0, 1, "g")).x0)


def test_the_teachers_texts_follow_its_law():
    teacher = TinyLM(1).freeze()
    source = TeacherTextSource(data=Words(rows=1), teacher=teacher, count=4000, chunk=1000, prompt=2, length=1)
    found = torch.bincount(source.texts().x0[:, 2], minlength=V) / 4000
    expected = teacher(Words(rows=1).x0[:, :2])[0, -1].softmax(-1)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=0, atol=0.03)


def test_a_teacher_with_another_tokenizer_is_given_text_and_gives_text():
    teacher, student = TinyLM(1, letters="cab.").freeze(), TinyLM(2)
    source = TeacherTextSource(data=Words(), teacher=teacher, generator=student, count=32, chunk=32, prompt=3)
    limbeck.create("objective", "seq_kd").setup(student, teacher)  # not refused
    texts = source.texts()
    prompts = Words().batch(rows_of(limbeck.rng(0, 0, "teacher_text"), 32, 40)).x0[:, :3]
    ended = 0
    for k, (row, real, learned) in enumerate(zip(texts.x0, texts.attention_mask, texts.loss_mask, strict=True)):
        assert row[real & ~learned].tolist() == [i for i in prompts[k].tolist() if i != EOS]  # its end has no letter
        ended += row[learned].tolist()[-1] == EOS
    assert 0 < ended < 32
    batch = Batch(
        x0=torch.tensor([[0, 2, 1, 3, 0]]),
        attention_mask=torch.tensor([[0, 1, 1, 1, 0]]).bool(),
        loss_mask=torch.tensor([[0, 0, 1, 1, 0]]).bool(),
    )
    moved = translated(batch, teacher.tokenizer, student.tokenizer)  # 2 is b in cab., and b is 1 in abc.
    assert moved.x0.tolist() == [[1, 0, 3]] and moved.loss_mask.tolist() == [[False, True, True]]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_teacher_that_returns_nan_is_named_with_the_number_of_tokens():
    objective, student, teacher = make("fkl")
    x0 = torch.tensor([[0, 1, 2, 1], [1, 2, 2, 0]])
    with torch.no_grad():
        teacher.embedding[0] = float("nan")  # row 0 begins with it
    with pytest.raises(LimbeckError, match=r"the teacher \(TinyLM\) gave logits that are not finite for 3 of 6 tokens"):
        loss_of(objective, Batch(x0=x0))


def test_a_student_that_returns_nan_is_left_to_the_engine():
    objective, student, _ = make("fkl")
    with torch.no_grad():
        student.weight[0] = float("nan")
    assert not loss_of(objective, Words().batch(torch.arange(2))).value.isfinite()


@pytest.mark.parametrize("name", ["kd", "fkl", "rkl", "jsd", "gkd"])
def test_models_with_different_tokenizers_are_refused(name):
    objective = limbeck.create("objective", name)
    with pytest.raises(LimbeckError, match="use different tokenizers"):
        objective.setup(TinyLM(2), TinyLM(1, letters="abcd."))


@pytest.mark.parametrize("name", ["kd", "fkl", "rkl", "jsd", "gkd"])
def test_a_divergence_without_a_teacher_is_refused(name):
    with pytest.raises(ValueError, match="compares with a teacher, and was given none: add a `teacher:` block"):
        limbeck.create("objective", name).setup(TinyLM(2))


def test_data_that_is_no_text_is_refused():
    objective, *_ = make("fkl")
    for x0, given in (
        (None, "nothing"),
        (torch.zeros(2, 3), "torch.float32"),
        (torch.zeros(2, dtype=torch.int64), r"\(2,\)"),
    ):
        with pytest.raises(ValueError, match=f"learns from token ids .*{given}"):
            loss_of(objective, Batch(x0=x0))
    with pytest.raises(ValueError, match="sequences of 1 have none"):
        loss_of(objective, Batch(x0=torch.zeros(2, 1, dtype=torch.int64)))


def test_sources_say_what_they_lack():
    with pytest.raises(ValueError, match="source 'on_policy' needs generator"):
        OnPolicySource(data=Words())
    with pytest.raises(ValueError, match="source 'teacher_text' needs data"):
        TeacherTextSource(teacher=TinyLM(1))
