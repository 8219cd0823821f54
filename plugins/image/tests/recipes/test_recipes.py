import subprocess
import sys

import pytest
import torch

import limbeck
from limbeck.recipe import load
from limbeck.runs.build import build
from limbeck_image.features.train_convnet import augment, train
from limbeck_image.networks.unet import digits_generator, digits_teacher

RECIPES = ("digits_teacher", "digits_dmd2", "digits_consistency")


def test_the_manifest_imports_neither_torch_nor_pydantic():
    code = (
        "import sys, limbeck_image._plugin as p; names = [c.name for c in p.components()];"
        "heavy = {'torch', 'pydantic', 'sklearn', 'PIL', 'scipy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy or 'digits' not in names else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_a_bundled_recipe_is_valid_and_builds(name):
    built = build(load(name))
    assert built.space.event == (1, 8, 8) and len(built.data) == 1437
    assert set(built.metrics) >= {"frechet", "precision_recall", "class_accuracy"}


def test_the_dmd2_student_starts_as_the_teacher():
    built = build(load("digits_dmd2"))
    teacher = digits_teacher().state_dict()
    assert all(torch.equal(tensor, teacher[name]) for name, tensor in built.generator.state_dict().items())


def test_the_default_generator_is_built_like_the_bundled_teacher():
    assert digits_generator().state_dict().keys() == digits_teacher().state_dict().keys()
    digits_generator().load_state_dict(digits_teacher().state_dict())


def test_a_pretraining_run_becomes_a_teacher_file_that_loads(tmp_path):
    train_options = {"steps": 2, "batch_size": 8, "warmup": 0}
    evaluate = {"samples": 16, "batch_size": 16, "every": None, "grid": 0, "metrics": ["class_accuracy"]}
    run = limbeck.pretrain(
        "digits_teacher", out=tmp_path / "run", train=train_options, evaluate=evaluate,
        sampling={"use": "euler", "steps": 2}, progress=False,
    )  # fmt: skip
    (path,) = run.export("teacher", tmp_path / "out", dtype="float32")
    teacher = digits_teacher(weights=str(path))
    trained = run.generator().state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in teacher.state_dict().items())
    assert teacher.provenance["recipe"] == "digits_teacher" and "CC BY 4.0" in teacher.provenance["data"]
    assert teacher.network.encoder[0][0][0].dropout == 0


def test_augmentation_moves_digits_a_little_and_keeps_the_range():
    images = limbeck.create("data", "image/digits").batch(torch.arange(64)).x0
    moved = augment(images, limbeck.rng(0, 0, "classifier"))
    assert moved.shape == images.shape and moved.min() >= -1 and moved.max() <= 1
    change = (moved - images).square().mean()
    assert 0.005 < change < 0.3
    assert torch.equal(moved, augment(images, limbeck.rng(0, 0, "classifier")))
    assert not torch.equal(moved, augment(images, limbeck.rng(0, 1, "classifier")))


def test_training_the_classifier_is_a_function_of_the_seed():
    (first, _), (second, _), (other, _) = train(0, epochs=1), train(0, epochs=1), train(1, epochs=1)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert not torch.equal(first.to_logits[2].weight, other.to_logits[2].weight)


@pytest.mark.slow
def test_the_classifier_can_be_trained_again():
    assert train(0)[1] >= 0.985


@pytest.mark.slow
def test_rerunning_the_teachers_recipe_lands_within_a_tenth_of_its_stated_distance(tmp_path):
    stated = next(row for row in digits_teacher().provenance["evaluation"] if row["name"] != "real data, held out")
    run = limbeck.pretrain("digits_teacher", out=tmp_path / "run", progress=False)
    found = next(row for row in run.evaluation["rows"] if row["name"] == stated["name"])
    assert found["metrics"]["frechet"] == pytest.approx(stated["metrics"]["frechet"], rel=0.1)
