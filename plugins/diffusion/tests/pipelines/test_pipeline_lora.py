"""Adapters on one shared base: nothing is copied, nothing is switched, the teacher never changes."""

import copy
from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch
from pipeline_runs import distilled, recipe, registered
from torch import nn

from limbeck.engine import tensor_file
from limbeck.interfaces import Phase
from limbeck_diffusion.objectives.matching.score_difference import ScoreDifference
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.pipelines import lora
from limbeck_diffusion.pipelines.loading import diffusers_teacher

pytestmark = pytest.mark.xdist_group("pipeline adapters")  # what is made for the module is made once


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.saved("sd15", tmp_path_factory.mktemp("base"))


@pytest.fixture
def teacher(folder):
    return diffusers_teacher(model=folder)


def asked(predictor):
    """x0_hat of two fixed rows, whatever is wrapped around the predictor."""
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return predictor(x, torch.tensor([0.3, 0.9]), ["ab", "c"]).x0_hat


def stir(module, seed=0, std=0.3):
    """Adapters that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if lora.is_adapter(name):
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))


def storages(*modules):
    return {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for m in modules for p in m.parameters()}


def test_student_and_critic_hold_the_very_weights_of_the_teacher(teacher):
    base = storages(teacher)
    student, critic = teacher.trainable_copy("lora", rank=4), teacher.trainable_copy("lora", rank=2)
    adapters = [p for m in (student, critic) for n, p in m.named_parameters() if lora.is_adapter(n)]
    assert len(adapters) == 4 * 8 * 4  # A and B of q, k, v, out in two attentions of four blocks, for two roles
    everything = storages(teacher, student, critic)
    assert set(base) < set(everything)
    assert sum(everything.values()) == sum(base.values()) + sum(4 * p.numel() for p in adapters)
    assert all(p.requires_grad == lora.is_adapter(n) for n, p in student.named_parameters())
    assert student.space.codec is teacher.space.codec and student.prompts is teacher.prompts
    assert torch.equal(asked(student.eval()), asked(teacher))  # adapters start as zero


def test_a_full_copy_is_of_the_denoiser_alone(teacher):
    twin = teacher.trainable_copy("full")
    assert not set(storages(twin)) & set(storages(teacher))
    assert twin.space.codec is teacher.space.codec and twin.prompts is teacher.prompts
    assert all(p.requires_grad for p in twin.parameters()) and not any(p.requires_grad for p in teacher.parameters())
    assert not any(p.requires_grad for p in twin.space.codec.parameters())
    assert torch.equal(asked(twin.eval()), asked(teacher))


def test_training_the_roles_leaves_the_teacher_bit_by_bit(teacher):
    before, weights = asked(teacher), {n: p.clone() for n, p in teacher.named_parameters()}
    student, critic = teacher.trainable_copy("lora", rank=4), teacher.trainable_copy("lora", rank=4)
    for role in (student, critic):
        optimizer = torch.optim.AdamW([p for p in role.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            asked(role).square().mean().backward()
            optimizer.step()
    assert torch.equal(asked(teacher), before)
    assert all(torch.equal(p, weights[n]) for n, p in teacher.named_parameters())
    assert all(p.grad is None for p in teacher.parameters())
    apart = [float((asked(role).detach() - before).abs().max()) for role in (student, critic)]
    assert min(apart) > 1e-2


def test_interleaved_and_recomputed_calls_have_the_same_gradients(teacher):
    def gradients(recompute):
        torch.manual_seed(0)
        student, critic = teacher.trainable_copy("lora", rank=4), teacher.trainable_copy("lora", rank=4)
        stir(student, 1), stir(critic, 2)
        if recompute:
            student.network.enable_gradient_checkpointing()
        out = asked(student)
        between = asked(critic)  # another role and the teacher are called before the student's backward
        asked(teacher)
        (out.square().mean() + 0 * between.detach().mean()).backward()
        return {n: p.grad for n, p in student.named_parameters() if p.requires_grad}, critic

    plain, critic = gradients(False)
    recomputed, _ = gradients(True)
    assert all(p.grad is None for p in critic.parameters())
    assert max(float(g.abs().max()) for g in plain.values()) > 1e-4
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-8)


def test_roles_can_be_wrapped_one_by_one(teacher, tmp_path):
    """DDP asks that every parameter it watches gets a gradient in every backward pass; those are the adapters."""
    from torch.distributed import destroy_process_group, init_process_group
    from torch.nn.parallel import DistributedDataParallel

    student, critic = teacher.trainable_copy("lora", rank=4), teacher.trainable_copy("lora", rank=4)
    stir(student, 1), stir(critic, 2)
    asked(student).square().mean().backward()
    wanted = {name: p.grad.clone() for name, p in student.named_parameters() if p.requires_grad}
    student.zero_grad()
    init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        student, critic = DistributedDataParallel(student), DistributedDataParallel(critic)
        for _ in range(2):
            student.zero_grad(), critic.zero_grad()
            ours = asked(student)
            asked(critic).square().mean().backward()
            ours.square().mean().backward()
    finally:
        destroy_process_group()
    for name, parameter in student.module.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-8)
    assert all(p.grad is not None for p in critic.parameters() if p.requires_grad)
    assert storages(teacher).keys() < storages(student).keys()


def test_a_role_is_saved_as_its_adapters_alone(teacher, tmp_path):
    student = teacher.trainable_copy("lora", rank=4)
    stir(student)
    state = student.state_dict()
    assert state and all(".lora_" in name for name in state)
    file = tmp_path / "student.safetensors"
    file.write_bytes(b"".join(bytes(piece) for piece in tensor_file.pieces(state)))
    assert file.stat().st_size < 0.2 * sum(storages(teacher).values())
    again = teacher.trainable_copy("lora", rank=4)
    again.load_state_dict(tensor_file.read(file))
    assert torch.equal(asked(again.eval()), asked(student.eval()))
    missing = {name: tensor for name, tensor in state.items() if not name.endswith("to_q.lora_A.default.weight")}
    with pytest.raises(RuntimeError, match=r"Missing key.*to_q\.lora_A"):
        again.load_state_dict(missing)


def test_a_module_around_a_role_is_saved_without_the_base_too(teacher):
    critic = nn.ModuleDict({"predictor": teacher.trainable_copy("lora", rank=2), "head": nn.Linear(3, 1)})
    state = critic.state_dict()
    assert {name.partition(".")[0] for name in state} == {"predictor", "head"}
    assert all(".lora_" in name for name in state if name.startswith("predictor"))
    critic.load_state_dict(state)


def test_a_deep_copy_shares_the_base_and_not_the_adapters(teacher):
    student = teacher.trainable_copy("lora", rank=4)
    twin = copy.deepcopy(student)
    stir(student)
    assert torch.equal(asked(twin.eval()), asked(teacher))
    own = set(storages(twin)) - set(storages(teacher))
    assert len(own) == sum(lora.is_adapter(n) for n, _ in twin.named_parameters())


def test_a_role_that_moves_alone_leaves_the_base_where_it_is(teacher):
    student = teacher.trainable_copy("lora", rank=4)
    stir(student)
    before = asked(student.eval())
    gone = copy.deepcopy(student).double()
    assert {p.dtype for p in gone.parameters()} == {torch.float64}
    assert {p.dtype for p in teacher.parameters()} == {p.dtype for p in student.parameters()} == {torch.float32}
    assert torch.equal(asked(student), before)
    assert torch.allclose(asked(gone).float(), before, atol=1e-4)
    student.to("cpu")  # where it is already: nothing is copied
    assert set(storages(teacher)) < set(storages(student))


def test_folding_the_adapters_in_gives_the_same_network_without_them(teacher):
    student = teacher.trainable_copy("lora", rank=4, alpha=8.0)
    stir(student)
    plain = student.trainable_copy("full")
    assert not lora.is_adapted(plain.network)
    assert plain.network.state_dict().keys() == teacher.network.state_dict().keys()
    torch.testing.assert_close(asked(plain.eval()), asked(student.eval()), rtol=1e-4, atol=1e-4)
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    layer, before = student.network.get_submodule(name), teacher.network.get_submodule(name).weight
    update = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(plain.network.get_submodule(name).weight, before + 2.0 * update)  # alpha / rank = 2


def test_half_precision_weights_get_adapters_in_single(teacher):
    student = teacher.to(torch.bfloat16).trainable_copy("lora", rank=4)
    kinds = {(lora.is_adapter(n), p.dtype) for n, p in student.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert asked(student).isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": ("to_z",)}, r"lora\.targets to_z: .*Layers here: .*to_out\.0.*to_q"),
        ({"targets": ("norm1",)}, "lora.targets norm1"),
    ],
)
def test_layers_that_cannot_be_adapted_are_named(teacher, options, said):
    with pytest.raises(TypeError, match=said):
        teacher.trainable_copy("lora", **options)


def test_adapters_on_adapters_are_refused(teacher):
    with pytest.raises(TypeError, match="already has adapters"):
        teacher.trainable_copy("lora").trainable_copy("lora")


def test_adapters_on_a_network_that_learns_get_a_base_of_their_own(teacher):
    student = teacher.trainable_copy("full")
    critic = student.trainable_copy("lora")
    assert not set(storages(critic)) & set(storages(student))
    assert all(p.requires_grad for p in student.parameters())


def test_objectives_move_adapters_only(teacher):
    student = teacher.trainable_copy("lora", rank=4)
    objective = ScoreDifference(critic={"lora": {"rank": 2}})
    objective.setup(student, teacher)
    learning = {role: objective.learning(role) for role in objective.roles()}
    assert all(len(parameters) == 64 for parameters in learning.values())
    objective.focus(Phase("critic", ("critic",)))
    assert not any(p.requires_grad for p in student.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())
    consistency = Consistency(target={"decay": 0.9})
    consistency.setup(student, teacher)
    assert set(storages(teacher)) < set(storages(consistency.target))
    assert all(".lora_" in name for name in consistency.state_dict() if name != "target_step")


@pytest.mark.slow
def test_a_run_of_adapters_resumes_bit_by_bit(folder, tmp_path, monkeypatch):
    import limbeck

    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    content = recipe("straight", "sd15", folder, "dmd2", True, updates=4)
    content["train"]["ema"] = [0.9]
    whole = distilled(tmp_path / "whole", content)
    distilled(tmp_path / "parts", {**content, "train": {**content["train"], "steps": 2}})
    with registered():
        limbeck.distill({**content}, out=tmp_path / "parts", resume=True, progress=False)
    ours, theirs = (
        p.checkpoint() if not isinstance(p, Path) else None for p in (whole, limbeck.Run(tmp_path / "parts"))
    )
    for stem in ("generator", "critic", "ema-0.9"):
        straight, resumed = ours.tensors(stem), theirs.tensors(stem)
        assert straight.keys() == resumed.keys() and all(".lora_" in name for name in straight)
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)
