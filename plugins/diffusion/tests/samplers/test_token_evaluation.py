"""Sampling and comparing models of tokens by the evaluation of the core."""

from types import SimpleNamespace

import pytest
import token_models as models
import torch

import limbeck
from limbeck.evaluation import compare, fewest_evaluations
from limbeck.interfaces import Batch, Data, Metric
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.recipe.schema import Evaluate
from limbeck.sampling.samples import generate
from limbeck_diffusion.samplers.categorical import Ancestral, Confidence


class Pairs(Data):
    def __init__(self, split="train"):
        self.teacher = models.two_tokens()
        self.space = self.teacher.space
        self.x0 = self.teacher.sample(2000, limbeck.rng(0 if split == "train" else 1))

    def __len__(self):
        return len(self.x0)

    def batch(self, indices):
        return Batch(x0=self.x0[indices])

    def split(self, name):
        return Pairs(name)


class JointError(Metric):
    """Total variation distance to the true joint distribution."""

    better = {"joint_error": "lower"}

    def __call__(self, samples, cond, reference):
        assert samples.dtype == torch.int64 and samples.shape[1:] == (2,)
        found = torch.bincount(2 * samples[:, 0] + samples[:, 1], minlength=4).double() / len(samples)
        return {"joint_error": 0.5 * float((found - models.JOINT.flatten()).abs().sum())}


def built(student_steps=1, **evaluate):
    teacher = models.two_tokens()
    return SimpleNamespace(
        recipe=SimpleNamespace(evaluate=Evaluate(batch_size=500, **evaluate), sampling=None),
        teacher=teacher,
        generator=models.Table.of(teacher),
        data=Pairs(),
        sampler=Ancestral(),
        sampling_steps=student_steps,
        metrics={"joint": JointError()},
    )


def test_a_teacher_of_tokens_is_cut_to_one_step_of_its_own_sampler():
    run = built()
    rows = {row["role"]: row for row in compare(run, run.generator, samples=3000, seed=0)}
    assert (rows["teacher"]["sampler"], rows["teacher"]["steps"], rows["teacher"]["evaluations"]) == (
        "ancestral",
        32,
        32,
    )
    assert (rows["teacher_cut"]["sampler"], rows["teacher_cut"]["steps"]) == ("ancestral", 1)
    assert rows["student"]["evaluations"] == 1
    # tokens drawn at once are independent: |.6 - .455| + ... over two; many steps are nearly exact
    assert rows["teacher_cut"]["metrics"]["joint_error"] == pytest.approx(0.29, abs=0.03)
    assert rows["student"]["metrics"] == rows["teacher_cut"]["metrics"]  # equal distributions from equal draws
    assert rows["teacher"]["metrics"]["joint_error"] < 0.05
    assert rows["floor"]["metrics"]["joint_error"] < 0.05


def test_the_teacher_is_cut_to_the_steps_of_the_student():
    run = built(4, teacher={"use": "confidence", "steps": 16})
    row = next(r for r in compare(run, run.generator, samples=50, seed=0) if r["role"] == "teacher_cut")
    assert (row["sampler"], row["steps"], row["name"]) == ("confidence", 4, "teacher, cut to 4 steps")


def test_the_cheapest_way_to_run_the_teacher_is_found():
    found = fewest_evaluations(built(), ["ancestral"], [1, 32], tolerance=0.5, samples=4000)
    assert found["fewest"]["steps"] == 32 and len(found["rows"]) == 2


@pytest.mark.parametrize("process", [MaskedProcess(2), UniformProcess(2)], ids=repr)
def test_samples_are_a_function_of_the_seed(process):
    teacher = models.two_tokens(process)
    first, again, other = (
        generate(teacher, Ancestral(), steps=3, count=70, seed=seed, batch_size=32).samples for seed in (0, 0, 1)
    )
    assert first.value.dtype == torch.int64 and first.value.shape == (70, 2)
    assert torch.equal(first.value, again.value) and not torch.equal(first.value, other.value)
    assert generate(teacher, Ancestral(), steps=3, count=4).evaluations == 3


def test_samples_of_tokens_are_saved_with_their_prompts(tmp_path):
    prompt = torch.ones(6, 1, dtype=torch.int64)
    made = generate(models.two_tokens(), Confidence(), steps=2, count=6, cond=prompt, batch_size=4).samples
    assert bool((made.value[:, 0] == 1).all())
    from safetensors.torch import load

    stored = load(made.save(tmp_path / "x.safetensors").read_bytes())
    assert torch.equal(stored["samples"], made.value) and torch.equal(stored["cond"], prompt)
