"""Checks of objectives, on small partners that offer most abilities. Letters: B batch.

Every check's docstring is what a plugin author reads when it fails.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import limbeck
from limbeck.interfaces import Batch, Data, Loss, Objective, Phase, Space
from limbeck.manifest import ABILITIES, Needs
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import RectifiedFlow
from limbeck.randomness import Rng
from limbeck.testing.causal import CausalNetwork
from limbeck.testing.conformance.inputs import close, nudge
from limbeck.testing.conformance.report import Case, Skip, check_for
from limbeck.testing.network import TinyNetwork

ROWS = 8
CLASSES = 3

PREDICTOR = frozenset(
    {
        "gaussian",
        "denoiser",
        "features",
        "trainable_copy",
        "null_condition",
        "sampling",
        "flow_map_time",
        "forward_mode",
    }
)


class ToyData(Data):
    """Three blobs as three classes; 64 rows to train on and 64 held out, on any event."""

    def __init__(self, event: tuple[int, ...] = (4,), offset: int = 0):
        self.space, self.offset = Space(event), offset

    def __len__(self) -> int:
        return 64

    def batch(self, indices: Tensor) -> Batch:
        cond = indices % CLASSES
        x0 = limbeck.rng(self.offset).normal("data", (64, *self.space.event))[indices]
        shift = (cond.float() - 1).reshape(-1, *[1] * len(self.space.event))
        return Batch(x0=0.3 * x0 + shift, cond=cond)

    def split(self, name: str) -> Data:
        return ToyData(self.space.event, 1 if name == "held_out" else 0)


def toy_predictor(seed: int, event: tuple[int, ...] = (4,)) -> Denoiser:
    """A small denoiser on the rectified flow with classes, features, a null label and a second time; float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TinyNetwork(event, width=16, depth=2, classes=CLASSES, two_times=True)
    return Denoiser(network, RectifiedFlow(), Space(event), null=CLASSES, two_times=True)


def toy_causal(seed: int, event: tuple[int, ...] = (4,)) -> Denoiser:
    """A small causal denoiser of clips with classes, features, a null label, a time per frame and a cache; float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CausalNetwork(event, width=16, classes=CLASSES)
    return Denoiser(network, RectifiedFlow(), Space(event), null=CLASSES)


def toy_partners(event: tuple[int, ...] = (4,), causal: bool = False) -> dict[str, Any]:
    """generator, teacher (another network) and data for an objective under test; the generator causal on request."""
    generator = toy_causal(0, event) if causal else toy_predictor(0, event)
    return {"generator": generator, "teacher": toy_predictor(1, event).freeze(), "data": ToyData(event)}


TOY_ABILITIES: Mapping[str, frozenset[str]] = {
    "generator": PREDICTOR,
    "teacher": PREDICTOR,
    "data": frozenset({"samples", "conditions", "held_out"}),
}
OF_CLIPS = frozenset({"cache", "frame_time"})
CAUSAL_ABILITIES = {**TOY_ABILITIES, "generator": PREDICTOR - {"flow_map_time", "forward_mode"} | OF_CLIPS}


def needs_of(objective: Objective) -> Needs:
    """Those of its class (its own, or those of the manifest that registers it) and those of its options."""
    needs = vars(type(objective)).get("needs") or _registered_needs(type(objective)) or objective.needs
    options: Any = getattr(objective, "options", None)
    return needs | options.needs() if hasattr(options, "needs") else needs


def _registered_needs(kind: type[Objective]) -> Needs | None:
    """What the manifest states that registers this class as it is, without other defaults."""
    target = f"{kind.__module__}:{kind.__qualname__}"
    rows = (entry.component for entry in limbeck.registry.components("objective"))
    return next((c.needs for c in rows if c.target in (kind, target) and not c.defaults), None)


class Game:
    """An objective set up with its partners, and batches for it."""

    def __init__(self, case: Case, event: tuple[int, ...] = (4,)):
        self.objective: Objective = case.make()
        given: Callable[..., Mapping[str, Any]] | None = case.extra.get("partners")
        needs = needs_of(self.objective)
        causal = bool(needs.generator & OF_CLIPS)
        self.partners = dict(given() if given else toy_partners(event, causal))
        if not given:
            for role, words in needs.by_role().items():
                if lacking := sorted(words - (CAUSAL_ABILITIES if causal else TOY_ABILITIES)[role]):
                    raise Skip(
                        f"needs {', '.join(lacking)} of the {role}; the kit's own {role} has none: define partners()"
                    )
        self.generator, self.teacher = self.partners["generator"], self.partners.get("teacher")
        limbeck.rng(0, phase="setup").seed_globally()
        self.objective.setup(self.generator, self.teacher)
        # away from the start: a critic that is still the teacher, or a last layer of zeros, would hide every gradient
        for role, module in self.objective.roles().items():
            nudge(module, 0.05, role)
        self.make_batch: Callable[[int, Rng], Batch] = case.extra.get("batch") or self._batch

    def _batch(self, size: int, rng: Rng) -> Batch:
        """Real rows where there is data, noise beside them, and a state of the process: whatever an objective may
        read."""
        data, process = self.partners.get("data"), getattr(self.generator, "process", None)
        real = data.batch(rng.integers("rows", len(data), (size,))) if data is not None else Batch()
        if process is None:
            return real
        noise = process.prior_sample((size, *self.generator.space.event), rng, "batch noise")
        t = process.t_max * (0.1 + 0.8 * rng.uniform("batch t", (size,)))
        xt = process.add_noise(real.x0, rng.normal("batch eps", noise.shape), t) if real.x0 is not None else noise
        return Batch(x0=real.x0, cond=real.cond, noise=noise, xt=xt, t=t)

    def phases(self, step: int = 0) -> list[Phase]:
        return list(self.objective.phases(step))

    def loss(self, phase: Phase, step: int = 0, part: int = 0, parts: int = 1, weight: Tensor | None = None) -> Loss:
        rng = Rng(0, step, phase, part=part, parts=parts)
        batch = self.make_batch(ROWS // parts, rng)
        if weight is not None:
            batch = Batch(**{**vars(batch), "weight": weight.to(_float_of(batch))})
        limbeck.rng(0, step, phase).seed_globally()
        return self.objective.loss(phase, batch, rng)

    def play(self, steps: int, lr: float = 1e-3) -> None:
        optimizers = {
            name: torch.optim.SGD(module.parameters(), lr=lr) for name, module in self.objective.roles().items()
        }
        for step in range(steps):
            for phase in self.phases(step):
                self.objective.focus(phase)
                loss = self.loss(phase, step)
                assert bool(loss.value.isfinite()), (
                    f"step {step}, phase {phase.name}: the loss is {loss.value.detach()}"
                )
                loss.backward()
                for role in phase.roles:
                    optimizers[role].step()
                self.objective.zero_grad()

    def weights(self) -> dict[str, Tensor]:
        return {
            f"{role}.{name}": p.detach().clone()
            for role, module in self.objective.roles().items()
            for name, p in module.named_parameters()
        }


def _float_of(batch: Batch) -> torch.dtype:
    for value in (batch.x0, batch.noise, batch.xt):
        if value is not None and value.is_floating_point():
            return value.dtype
    return torch.float32


def _gradients(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: p.grad for name, p in module.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0
    }


@check_for("objective")
def its_needs_are_known_words(case: Case) -> None:
    """`needs` and `Options.needs()` use the words of limbeck.manifest.ABILITIES, so that the matrix can be computed."""
    objective = case.make()
    assert isinstance(objective, Objective), f"got {type(objective).__name__}, expected a limbeck.Objective"
    for role, words in needs_of(objective).by_role().items():
        unknown = sorted(words - set(ABILITIES))
        assert not unknown, f"needs unknown abilities of the {role}: {unknown}"


@check_for("objective")
def roles_are_modules_that_share_nothing(case: Case) -> None:
    """After setup, roles() names every trainable network once; the teacher is not among them."""
    game = Game(case)
    roles = game.objective.roles()
    assert roles, "no roles after setup: call self.add_role('generator', generator)"
    owner: dict[int, str] = {}
    for name, module in roles.items():
        assert isinstance(module, nn.Module), f"role {name!r} is a {type(module).__name__}, expected a torch.nn.Module"
        for p in module.parameters():
            assert owner.setdefault(id(p), name) == name, f"roles {owner[id(p)]!r} and {name!r} share a parameter"
    if game.teacher is not None:
        assert not {id(p) for p in game.teacher.parameters()} & set(owner), "the teacher's parameters belong to a role"


@check_for("objective")
def phases_are_a_function_of_the_step(case: Case) -> None:
    """phases(step) gives the same turns whenever it is called, and names roles that exist: resume depends on it."""
    game = Game(case)
    first = [game.phases(step) for step in (0, 1, 2, 7, 1000)]
    assert all(game.phases(step) == game.phases(step) for step in (0, 1)), "called twice, a step has other phases"
    game.play(1)
    again = [game.phases(step) for step in (0, 1, 2, 7, 1000)]
    assert first == again, "the phases of a step changed after another step was played"
    for turns in first:
        assert turns, "a step without phases does nothing"
        assert len(set(turns)) == len(turns), f"two equal turns in one step: count them with Phase(repeat=...): {turns}"
        for phase in turns:
            unknown = set(phase.roles) - set(game.objective.roles())
            assert not unknown and phase.roles, (
                f"phase {phase.name!r} names roles {phase.roles}; there are {sorted(game.objective.roles())}"
            )


@check_for("objective")
def the_loss_is_a_finite_scalar(case: Case) -> None:
    """loss() returns Loss(value, terms): value () with a gradient, terms detached scalars; on events of rank 1 to 4."""
    events: tuple[tuple[int, ...], ...] = ((4,), (2, 3), (1, 4, 4), (2, 1, 2, 2))
    if "partners" in case.extra:
        events = events[:1]
    for event in events:
        game = Game(case, event)
        for phase in game.phases():
            game.objective.focus(phase)
            loss = game.loss(phase)
            where = f"phase {phase.name!r}, event {event}"
            assert isinstance(loss, Loss), f"{where}: loss() returned {type(loss).__name__}"
            assert loss.value.ndim == 0 and bool(loss.value.isfinite()), f"{where}: value is {loss.value}"
            assert loss.value.requires_grad, f"{where}: the loss is cut off from its roles"
            for name, term in loss.terms.items():
                assert isinstance(term, Tensor) and term.numel() == 1, f"{where}: term {name!r} is no scalar tensor"
                assert not term.requires_grad, f"{where}: term {name!r} holds the graph: detach it"
                assert bool(term.isfinite()), f"{where}: term {name!r} is {term}"


@check_for("objective")
def the_same_rng_gives_the_same_loss(case: Case) -> None:
    """Everything random is drawn from rng, by name: the same rng gives the same loss, another step another."""
    game = Game(case)
    for phase in game.phases():
        game.objective.focus(phase)
        first, again, later = (game.loss(phase, step).value.detach() for step in (0, 0, 1))
        assert torch.equal(first, again), f"phase {phase.name!r}: {float(first)} and {float(again)} from the same rng"
        assert not torch.equal(first, later), f"phase {phase.name!r}: the loss does not depend on the step's draws"


@check_for("objective")
def splitting_the_batch_changes_nothing(case: Case) -> None:
    """The loss and gradient of a batch are the mean over its two halves: draws go by name through rng, which slices
    them, and per-sample losses are averaged by limbeck.interfaces.average. Otherwise accumulation and more processes
    change the run."""
    game = Game(case)
    for phase in game.phases():
        game.objective.focus(phase)
        game.objective.zero_grad()
        whole = game.loss(phase)
        whole.backward()
        expected = {r: _gradients(game.objective.roles()[r]) for r in phase.roles}
        game.objective.zero_grad()
        halves = [game.loss(phase, part=k, parts=2) for k in range(2)]
        counts = torch.stack([torch.ones(()) if half.count is None else half.count for half in halves])
        mean = (torch.stack([half.value for half in halves]) * counts).sum() / counts.sum()
        mean.backward()
        close(mean.detach(), whole.value.detach(), f"phase {phase.name!r}", rtol=1e-4, atol=1e-6)
        for role in phase.roles:
            for name, gradient in _gradients(game.objective.roles()[role]).items():
                reference = expected[role].get(name, torch.zeros_like(gradient))
                close(gradient, reference, f"gradient of {role}.{name}", rtol=1e-3, atol=1e-5)
        game.objective.zero_grad()


@check_for("objective")
def weights_of_the_batch_are_used(case: Case) -> None:
    """batch.weight are averaging weights: equal weights 1/B change nothing, and unequal ones do (quadrature depends on
    it)."""
    game = Game(case)
    for phase in game.phases():
        game.objective.focus(phase)
        plain = game.loss(phase).value.detach()
        equal = game.loss(phase, weight=torch.full((ROWS,), 1 / ROWS)).value.detach()
        ramp = torch.arange(1.0, ROWS + 1)
        other = game.loss(phase, weight=ramp / ramp.sum()).value.detach()
        close(equal, plain, f"phase {phase.name!r}: weights 1/B are not the mean", rtol=1e-4, atol=1e-6)
        assert not torch.equal(other, plain), (
            f"phase {phase.name!r}: batch.weight is ignored; use average(per_sample, batch.weight)"
        )


@check_for("objective")
def the_gradient_reaches_only_the_roles_of_the_phase(case: Case) -> None:
    """A turn moves its own roles: gradients in every one of them, none in the others, none in the teacher."""
    game = Game(case)
    roles = game.objective.roles()
    for phase in game.phases():
        game.objective.focus(phase)
        game.objective.zero_grad()
        game.loss(phase).backward()
        for name, module in roles.items():
            reached = _gradients(module)
            if name in phase.roles:
                assert reached, f"phase {phase.name!r}: no gradient reaches its role {name!r}"
            else:
                assert not reached, f"phase {phase.name!r}: a gradient reaches {name!r}, whose turn it is not"
        if game.teacher is not None:
            touched = [n for n, p in game.teacher.named_parameters() if p.grad is not None]
            assert not touched, f"phase {phase.name!r}: gradients in the teacher: {touched[:3]}"
        game.objective.zero_grad()


@check_for("objective")
def a_few_steps_train_every_role(case: Case) -> None:
    """Three steps of a plain loop: losses stay finite, every role moves, the teacher does not."""
    game = Game(case)
    before, teacher = game.weights(), _state(game.teacher)
    game.play(3)
    after = game.weights()
    for role in {role for step in range(3) for phase in game.phases(step) for role in phase.roles}:
        names = [n for n in before if n.startswith(f"{role}.")]
        assert any(not torch.equal(before[n], after[n]) for n in names), f"role {role!r} did not move in three steps"
    assert all(torch.equal(v, w) for v, w in zip(teacher, _state(game.teacher), strict=True)), "the teacher changed"


def _state(module: nn.Module | None) -> list[Tensor]:
    return [v.detach().clone() for v in module.state_dict().values()] if module is not None else []


@check_for("objective")
def a_restored_objective_goes_on_as_before(case: Case) -> None:
    """Roles and state_dict() hold everything: a fresh objective that loads them has the same next loss, bit for bit."""
    game, fresh = Game(case), Game(case)
    game.play(2)
    for name, module in game.objective.roles().items():
        fresh.objective.roles()[name].load_state_dict({k: v.clone() for k, v in module.state_dict().items()})
    own = game.objective.state_dict()
    assert all(isinstance(v, Tensor) for v in own.values()), "state_dict() holds something other than tensors"
    fresh.objective.load_state_dict({k: v.clone() for k, v in own.items()})
    for phase in game.phases(2):
        game.objective.focus(phase)
        fresh.objective.focus(phase)
        a, b = game.loss(phase, 2).value.detach(), fresh.loss(phase, 2).value.detach()
        assert torch.equal(a, b), f"phase {phase.name!r}: {float(a)} before and {float(b)} after loading"


@check_for("objective")
def how_to_sample_is_stated(case: Case) -> None:
    """sampling() names a sampler and its steps: the recipe's default."""
    sampling = case.make().sampling()
    assert isinstance(sampling.get("use"), str), (
        f"sampling() is {sampling}; expected {{'use': 'multistep', 'steps': 1}}"
    )
    assert int(sampling.get("steps", 1)) >= 1, f"sampling() has {sampling.get('steps')} steps"
