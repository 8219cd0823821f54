"""Checks of a plugin: its manifest, its options, its targets, and the abilities it declares.

The object under test is a manifest module. Every check's docstring is what a plugin author reads when it fails.
"""

import inspect
import json
import re
import subprocess
import sys
import types
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from limbeck.manifest import ABILITIES, KINDS, LIMBECK_API, Component
from limbeck.testing.conformance.report import CHECKS, Case, Skip, check_for, run_check

HEAVY = ("torch", "diffusers", "transformers", "torchvision", "torchaudio", "trimesh", "sklearn", "scipy")


def components_of(manifest: types.ModuleType) -> list[Component]:
    return list(manifest.components())


def manifest_of(case: Case) -> types.ModuleType:
    manifest = case.make()
    return import_module(manifest) if isinstance(manifest, str) else manifest


def load(target: Any) -> Any:
    """`module:attribute`, or the object itself (components registered in process)."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    value: Any = import_module(module)
    for part in attribute.split("."):
        value = getattr(value, part)
    return value


def options_of(c: Component) -> Any:
    """The model of a component's options, with the defaults that its manifest states."""
    from limbeck.options import with_defaults

    return with_defaults(load(c.options), c.defaults)


def imported_by(module: str) -> list[str]:
    """Heavy packages that a fresh interpreter holds after importing `module`."""
    code = f"import sys, json, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"import {module} fails in a fresh interpreter:\n{done.stderr.strip()[-800:]}"
    return json.loads(done.stdout.splitlines()[-1])


@check_for("plugin")
def the_manifest_is_light(case: Case) -> None:
    """Importing the manifest loads no torch: `limbeck plugins` reads every manifest, and must stay instant."""
    heavy = imported_by(manifest_of(case).__name__)
    assert not heavy, (
        f"importing {manifest_of(case).__name__} also imports {', '.join(heavy)}; name targets as 'module:attribute'"
    )


@check_for("plugin")
def the_manifest_states_its_contract(case: Case) -> None:
    """LIMBECK_API is the number of the plugin contract it was written for, and components() lists components."""
    manifest = manifest_of(case)
    assert getattr(manifest, "LIMBECK_API", None) == LIMBECK_API, (
        f"LIMBECK_API is {getattr(manifest, 'LIMBECK_API', 'missing')}; this Limbeck has API {LIMBECK_API}"
    )
    brought = components_of(manifest)
    assert brought, "components() lists nothing"
    strangers = [type(c).__name__ for c in brought if not isinstance(c, Component)]
    assert not strangers, f"components() must list limbeck.Component; got {strangers}"


@check_for("plugin")
def components_are_named_and_described(case: Case) -> None:
    """Names are snake_case and unique per kind; kinds and abilities are known words; every summary is one line."""
    seen: set[tuple[str, str]] = set()
    for c in components_of(manifest_of(case)):
        where = f"{c.kind} {c.name!r}"
        assert c.kind in KINDS, f"{where}: unknown kind; there are {', '.join(KINDS)}"
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", c.name), f"{where}: names are snake_case"
        assert (c.kind, c.name) not in seen, f"{where} is listed twice"
        seen.add((c.kind, c.name))
        assert c.summary.strip() and "\n" not in c.summary, f"{where}: the summary must be one line; got {c.summary!r}"
        words = {"can": c.can} | {f"needs.{role}": needs for role, needs in c.needs.by_role().items()}
        for place, given in words.items():
            unknown = sorted(given - set(ABILITIES))
            assert not unknown, f"{where}: unknown abilities in {place}: {unknown}"


@check_for("plugin")
def options_are_light(case: Case) -> None:
    """Modules of options import no torch: a wrong option is refused before anything heavy loads."""
    modules = sorted({c.options.partition(":")[0] for c in components_of(manifest_of(case)) if c.options})
    if not modules:
        raise Skip("no component names an options model")
    for module in modules:
        heavy = imported_by(module)
        assert not heavy, f"importing {module} also imports {', '.join(heavy)}"


@check_for("plugin")
def options_round_trip(case: Case) -> None:
    """Options are frozen pydantic models: equal after JSON and back, unknown keys refused, every field documented,
    those of blocks too. What a row of the manifest states as `defaults` are options of its model."""
    from pydantic import BaseModel, ValidationError

    from limbeck.catalogue.cards import options_table

    tried = 0
    for c in components_of(manifest_of(case)):
        if not c.options:
            continue
        where, model = f"{c.kind} {c.name!r}", options_of(c)
        assert issubclass(model, BaseModel), f"{where}: {c.options} is no pydantic model; subclass limbeck.Options"
        for row in options_table(model):
            assert row["description"], (
                f"{where}: option {row['name']!r} has no description; write Field(..., description='...')"
            )
        if any(field.is_required() for field in model.model_fields.values()) or c.example is None:
            continue  # means nothing without something that nobody has by default
        tried += 1
        value = model()
        assert model.model_validate_json(value.model_dump_json()) == value, (
            f"{where}: options change on their way through JSON"
        )
        assert model(**value.model_dump()) == value, f"{where}: options change on their way through a mapping"
        try:
            model(no_such_option_exists=1)
        except ValidationError:
            pass
        else:
            raise AssertionError(f"{where}: unknown options are accepted; set extra='forbid' (limbeck.Options does)")
    if not tried:
        raise Skip("no options model that can be built without arguments")


@check_for("plugin")
def targets_can_be_imported(case: Case) -> None:
    """Every target names something that exists and can be called; every recipe is a file and passes its checks."""
    from importlib import resources

    from limbeck.recipe import load as load_recipe

    for c in components_of(manifest_of(case)):
        if c.kind == "recipe":
            package, _, path = c.target.partition(":")
            file = resources.files(package).joinpath(path)
            assert file.is_file(), f"recipe {c.name!r}: {package} has no file {path}"
            load_recipe(str(file))
        else:
            assert callable(load(c.target)), f"{c.kind} {c.name!r}: {c.target} is not callable"


@check_for("plugin")
def options_fit_their_targets(case: Case) -> None:
    """Every field of an options model is an argument of the target, which gets validated options as keywords."""
    for c in components_of(manifest_of(case)):
        if not c.options:
            continue
        target = load(c.target)
        parameters = inspect.signature(target).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            continue
        missing = sorted(set(load(c.options).model_fields) - {p.name for p in parameters})
        assert not missing, (
            f"{c.kind} {c.name!r}: the target takes no {', '.join(missing)}, which its options model offers"
        )


@check_for("plugin")
def declared_abilities_are_there(case: Case) -> None:
    """Every teacher, generator, objective, data and sampler that can be built without arguments passes its own kit.

    By "kind name": `skip_components` (reason) for what is too large, `component_options` and `component_conditions`
    for what needs them, `component_expected_failures` ({check: reason}) for what is known."""
    skipped: dict[str, str] = dict(case.extra.get("skip_components", {}))
    expected: dict[str, dict[str, str]] = dict(case.extra.get("component_expected_failures", {}))
    wrong, judged = [], 0
    for c in components_of(manifest_of(case)):
        name = f"{c.kind} {c.name}"
        if c.kind not in ("teacher", "generator", "objective", "data", "sampler") or name in skipped:
            continue
        if c.example is None:
            continue  # it needs what nobody has by default
        given = {**c.example, **case.extra.get("component_options", {}).get(name, {})}
        if c.options and any(f.is_required() for n, f in options_of(c).model_fields.items() if n not in given):
            continue
        conditions = case.extra.get("component_conditions", {}).get(name, lambda n: None)
        inner = Case(c.kind, _builder(c, given), c.can, conditions)
        judged += 1
        for check in CHECKS[c.kind].values():
            result = run_check(check, inner, expected.get(name, {}).get(check.name))
            if not result.ok:
                wrong.append(f"{name}: {check.name}: {result.reason}")
    assert not wrong, "\n".join(wrong)
    if not judged:
        raise Skip("no teacher, generator, objective, data or sampler that can be built without arguments")


@check_for("plugin")
def possible_cells_train(case: Case) -> None:
    """Whatever the matrix calls possible with a part of this plugin really trains for two steps, with the engine."""
    from limbeck.plugins.registry import registry
    from limbeck.testing.conformance.cells import possible_cells, train_cell

    if case.extra.get("skip_cells"):
        raise Skip("cells are not tried here: skip_cells")
    manifest = manifest_of(case)
    plugin = next((name for name, known in registry.implementations() if known is manifest), None)
    if plugin is None:
        raise Skip("not installed: the registry has no entry point for this manifest")
    cells = possible_cells(plugin)
    if not cells:
        raise Skip("no objective and generator that fit each other")
    wrong = []
    for cell in cells:
        try:
            train_cell(cell)
        except Exception as error:
            wrong.append(f"{cell}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def _builder(c: Component, given: Mapping[str, Any]) -> Any:
    """A factory that seeds initialisation, so that two objects are equal."""
    import limbeck

    def make() -> Any:
        limbeck.rng(0, phase=f"conformance/{c.kind}/{c.name}").seed_globally()
        options = dict(options_of(c)(**given)) if c.options else dict(given)
        return load(c.target)(**options)

    return make
