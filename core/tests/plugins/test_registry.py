"""The registry: list, describe, resolve; one bad plugin costs one row."""

import sys
import textwrap
from types import SimpleNamespace

import pytest

from limbeck.catalogue.catalogue import Catalogue
from limbeck.errors import (
    AmbiguousComponent,
    HookError,
    LimbeckError,
    OptionError,
    PluginLoadError,
    RegistryError,
    UnknownComponent,
)
from limbeck.manifest import ABILITIES, LIMBECK_API, Component, Needs, hookimpl
from limbeck.plugins.abilities import explain_missing, missing
from limbeck.plugins.discovery import HEAVY, unknown_hooks
from limbeck.plugins.hooks import Hooks
from limbeck.plugins.hookspecs import HOOKS, HookSpecs
from limbeck.plugins.registry import Registry
from limbeck.plugins.signatures import derived_options

GOOD = """
from limbeck.manifest import Component, Needs, hookimpl
LIMBECK_API = 1
@hookimpl
def components():
    return [Component("objective", "{name}", "{module}_body:Thing", summary="a thing",
                      needs=Needs(generator={{"denoiser"}}))]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """`install(dist, manifest, ...)` puts a distribution with one entry point on sys.path, as pip would."""
    for variable in ("LIMBECK_PLUGINS", "LIMBECK_DISABLE", "LIMBECK_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    before = set(sys.modules)
    count = iter(range(100))

    def make(dist, manifest, *, name=None, version="1.2.3", requires=(), body="class Thing:\n    pass\n"):
        site = tmp_path / f"site{next(count)}"
        module = dist.replace("-", "_")
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {dist}",
            f"Version: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[limbeck.plugins]\n{name or module} = {module}_manifest\n")
        (site / f"{module}_manifest.py").write_text(textwrap.dedent(manifest))
        (site / f"{module}_body.py").write_text(textwrap.dedent(body))
        monkeypatch.syspath_prepend(str(site))
        return site

    yield make
    for module in set(sys.modules) - before:
        if module.endswith(("_manifest", "_body")):
            del sys.modules[module]


def row(registry, distribution):
    return next(r for r in registry.plugins() if r.distribution == distribution)


def test_core_registers_its_own_components_through_the_same_door():
    registry = Registry()
    mine = row(registry, "limbeck")
    assert mine.status == "ok" and mine.api == LIMBECK_API
    assert {c.name for c in mine.components} >= {"torch", "safetensors"}
    assert registry.find("exporter", "torch").qualified == "limbeck/torch"


def test_an_installed_plugin_is_found_described_and_resolved_on_first_use(install):
    install("acme-distill", GOOD.format(name="acme_loss", module="acme_distill"))
    registry = Registry()
    assert row(registry, "acme-distill").status == "ok"
    entry = registry.find("objective", "acme_loss")
    assert (entry.plugin, entry.distribution, entry.version) == ("acme_distill", "acme-distill", "1.2.3")
    assert registry.find("objective", "acme_distill/acme_loss") == entry
    assert registry.find("objective", "acme-distill/acme_loss") == entry
    assert "acme_distill_body" not in sys.modules, "describing imported the component"
    assert registry.resolve("objective", "acme_loss").__name__ == "Thing"


def test_listing_imports_no_plugin(install):
    from limbeck.plugins.discovery import listed

    install("acme-quiet", "raise RuntimeError('imported')")
    assert "acme-quiet" in [found.distribution for found in listed()]
    assert "acme_quiet_manifest" not in sys.modules


@pytest.mark.parametrize("body", ["raise RuntimeError('boom')", "import sys; sys.exit(3)", "def components(:\n"])
def test_a_manifest_that_fails_on_import_is_one_row_and_the_others_work(install, body):
    install("acme-bad", body)
    install("acme-good", GOOD.format(name="good_loss", module="acme_good"))
    registry = Registry()
    bad = row(registry, "acme-bad")
    assert bad.status == "broken" and bad.reason and "acme-bad" in bad.fix
    assert registry.find("objective", "good_loss").distribution == "acme-good"


def test_a_missing_module_is_mended_by_the_extra_that_brings_it(install):
    install("acme-kern", "import acme_kernels", requires=['acme-kernels>=1; extra == "kernels"'])
    broken = row(Registry(), "acme-kern")
    assert broken.reason == "No module named 'acme_kernels'"
    assert broken.fix == 'pip install "acme-kern[kernels]"'


@pytest.mark.parametrize(
    ("api", "said", "fix"),
    [
        ("LIMBECK_API = 0", "written for plugin API 0; this Limbeck has API 1", "pip install -U acme-old"),
        ("LIMBECK_API = 7", "written for plugin API 7; this Limbeck has API 1", "pip install -U limbeck"),
        ("", "states no LIMBECK_API number", "pip install -U acme-old"),
    ],
)
def test_another_plugin_api_is_incompatible_with_both_numbers(install, api, said, fix):
    install("acme-old", GOOD.format(name="old_loss", module="acme_old").replace("LIMBECK_API = 1", api))
    found = row(Registry(), "acme-old")
    assert found.status == "incompatible" and said in found.reason and found.fix == fix
    with pytest.raises(UnknownComponent, match="acme-old is incompatible"):
        Registry().find("objective", "old_loss")


def test_a_component_name_taken_twice_is_ambiguous_and_the_qualified_name_works(install):
    install("acme-one", GOOD.format(name="same", module="acme_one"))
    install("acme-two", GOOD.format(name="same", module="acme_two"))
    registry = Registry()
    assert row(registry, "acme-one").status == "ok"
    second = row(registry, "acme-two")
    assert second.status == "duplicate" and "'same' is already brought by acme-one" in second.reason and second.fix
    with pytest.raises(AmbiguousComponent, match=r"acme-one.*acme-two.*'acme_one/same' or 'acme_two/same'"):
        registry.find("objective", "same")
    assert registry.find("objective", "acme_two/same").distribution == "acme-two"


def test_a_name_may_stand_once_in_every_modality_and_a_bare_one_is_then_ambiguous(install):
    for modality in ("image", "video", "audio"):
        manifest = GOOD.format(name="hub", module=f"acme_{modality}").replace(
            'summary="a thing"', f'modality="{modality}"'
        )
        install(f"acme-{modality}", manifest)
    registry = Registry()
    for modality in ("image", "video", "audio"):
        assert row(registry, f"acme-{modality}").status == "ok"
        assert registry.find("objective", f"acme_{modality}/hub").component.modality == modality
    with pytest.raises(AmbiguousComponent) as caught:
        registry.find("objective", "hub")
    assert str(caught.value) == (
        "objective 'hub' exists for audio, image and video. "
        "Write 'acme_audio/hub' or 'acme_image/hub' or 'acme_video/hub'."
    )
    assert {"acme_audio/hub", "acme_image/hub", "acme_video/hub"} <= set(Catalogue("objective", registry))


@pytest.mark.parametrize("second", ["image", "any"])
def test_a_name_taken_twice_in_one_modality_is_a_duplicate(install, second):
    for number, modality in enumerate(["image", "video", second]):
        manifest = GOOD.format(name="hub", module=f"acme_{number}").replace(
            'summary="a thing"', f'modality="{modality}"'
        )
        install(f"acme-{number}", manifest)
    registry = Registry()
    assert [row(registry, f"acme-{n}").status for n in range(3)] == ["ok", "ok", "duplicate"]
    assert "'hub' is already brought by acme-0" in row(registry, "acme-2").reason
    with pytest.raises(AmbiguousComponent, match="is brought by 3 distributions: acme-0 1.2.3, acme-1"):
        registry.find("objective", "hub")


def test_a_plugin_name_taken_twice_is_a_row_that_names_the_first(install):
    install("acme-one", GOOD.format(name="first", module="acme_one"), name="shared")
    install("acme-two", GOOD.format(name="second", module="acme_two"), name="shared")
    registry = Registry()
    second = row(registry, "acme-two")
    assert second.status == "duplicate" and "'shared' is already taken by acme-one" in second.reason
    assert "acme_two_manifest" not in sys.modules
    assert registry.find("objective", "first")


def test_our_own_plugins_win_a_name_over_a_stranger_whatever_the_alphabet(install):
    install("aaa-image", GOOD.format(name="first", module="aaa_image"), name="limbeck")
    assert row(Registry(), "limbeck").status == "ok"
    assert row(Registry(), "aaa-image").status == "duplicate"


def test_a_wrong_declaration_costs_itself_and_says_what_is_wrong(install):
    install(
        "acme-mixed",
        """
        from limbeck.manifest import Component, Needs, hookimpl
        LIMBECK_API = 1
        @hookimpl
        def components():
            return [
                Component("objective", "fine", "m:a"),
                Component("objectiv", "x", "m:a"),
                Component("objective", "CamelCase", "m:a"),
                Component("objective", "no_target", "m"),
                Component("generator", "odd", "m:a", can={"denoisr"}),
                Component("objective", "fine", "m:b"),
                "not a component",
            ]
        """,
    )
    registry = Registry()
    found = row(registry, "acme-mixed")
    assert found.status == "broken"
    for part in (
        "no kind 'objectiv'. Did you mean 'objective'?",
        "'CamelCase': a name is snake_case",
        "must read 'module:attribute'; got 'm'",
        "no ability 'denoisr'. Did you mean 'denoiser'?",
        "'fine' is declared twice",
        "holds a str",
    ):
        assert part in found.reason
    assert registry.find("objective", "fine").component.target == "m:a"


@pytest.mark.parametrize("returned", ["None", "'text'", "3", "1/0"])
def test_components_that_returns_nonsense_is_a_broken_plugin(install, returned):
    manifest = GOOD.format(name="x", module="acme_odd").partition("    return")[0] + f"    return {returned}\n"
    install("acme-odd", manifest)
    assert row(Registry(), "acme-odd").status == "broken"


def test_an_unknown_hook_is_reported_with_the_nearest_name(install):
    install("acme-hook", GOOD.format(name="x", module="acme_hook") + "@hookimpl\ndef step_endd(step): pass\n")
    found = row(Registry(), "acme-hook")
    assert found.status == "ok" and "unknown hook 'step_endd'. Did you mean 'step_ended'?" in found.warnings[0]


def test_a_hook_with_an_argument_that_does_not_exist_is_a_broken_plugin(install):
    install("acme-arg", GOOD.format(name="x", module="acme_arg") + "@hookimpl\ndef step_ended(stepp): pass\n")
    assert row(Registry(), "acme-arg").status == "broken"


def test_a_manifest_that_imports_something_heavy_is_warned_about(install, monkeypatch):
    heavy = "trimesh" if "trimesh" not in sys.modules else "jax"
    assert heavy in HEAVY
    site = install("acme-heavy", f"import {heavy}\n" + GOOD.format(name="x", module="acme_heavy"))
    (site / f"{heavy}.py").write_text("")
    found = row(Registry(), "acme-heavy")
    sys.modules.pop(heavy, None)
    assert found.status == "ok" and f"imports {heavy}" in found.warnings[0]


def test_environment_switches_plugins_on_and_off(install, monkeypatch):
    install("acme-one", GOOD.format(name="one", module="acme_one"))
    install("acme-two", GOOD.format(name="two", module="acme_two"))
    monkeypatch.setenv("LIMBECK_PLUGINS", "acme_one")
    assert [row(Registry(), d).status for d in ("limbeck", "acme-one", "acme-two")] == ["ok", "ok", "disabled"]
    monkeypatch.setenv("LIMBECK_PLUGINS", "")
    assert row(Registry(), "acme-one").status == "disabled"
    monkeypatch.delenv("LIMBECK_PLUGINS")
    monkeypatch.setenv("LIMBECK_DISABLE", "acme-two, something_else")
    registry = Registry()
    assert [row(registry, d).status for d in ("acme-one", "acme-two")] == ["ok", "disabled"]
    assert "acme_two_manifest" not in sys.modules
    assert "LIMBECK_DISABLE" in row(registry, "acme-two").reason


def test_strict_mode_raises_instead_of_recording(install, monkeypatch):
    install("acme-bad", "raise RuntimeError('boom')")
    monkeypatch.setenv("LIMBECK_STRICT", "1")
    with pytest.raises(RegistryError, match="boom") as caught:
        Registry().plugins()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_component_that_cannot_be_imported_names_plugin_version_object_cause_and_hint(install):
    manifest = GOOD.format(name="acme_loss", module="acme_late").replace('summary="a thing"', 'extra="flash"')
    install("acme-late", manifest, body="import flash_attn_of_acme")
    with pytest.raises(PluginLoadError) as caught:
        Registry().resolve("objective", "acme_loss")
    message = str(caught.value)
    for part in ("acme-late 1.2.3", "'acme_loss'", "flash_attn_of_acme", 'pip install "acme-late[flash]"'):
        assert part in message
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_target_without_that_attribute_suggests_the_nearest(install):
    install("acme-typo", GOOD.format(name="acme_loss", module="acme_typo"), body="class Thin:\n    pass\n")
    with pytest.raises(PluginLoadError, match="no attribute 'Thing'. Did you mean 'Thin'"):
        Registry().resolve("objective", "acme_loss")


def test_a_dotted_path_is_never_resolved():
    for name in ("os:system", "os.system", "limbeck.export.torch_program:export_torch"):
        with pytest.raises(UnknownComponent):
            Registry().resolve("exporter", name)


def test_unknown_names_list_what_is_known_and_the_nearest():
    with pytest.raises(UnknownComponent, match="no exporter named 'torhc'. Did you mean 'torch'"):
        Registry().find("exporter", "torhc")
    with pytest.raises(UnknownComponent, match="no kind 'exporterr'. Did you mean 'exporter'"):
        Registry().find("exporterr", "torch")


# --- in-process components, options, abilities -----------------------------------------------------------------------


class Annealed:
    def __init__(self, rate: float = 0.5, *, steps: int, name: str | None = None):
        self.rate, self.steps, self.name = rate, steps, name


def test_components_can_be_registered_in_process_and_removed_again():
    registry = Registry()
    with registry.register([Component("sampler", "annealed", Annealed)], name="toy"):
        made = registry.create("sampler", "toy/annealed", steps="3", rate=0.25)
        assert (made.steps, made.rate, made.name) == (3, 0.25, None)
    with pytest.raises(UnknownComponent):
        registry.find("sampler", "annealed")


def test_options_derived_from_a_signature_refuse_unknown_and_wrong_values():
    registry = Registry()
    with registry.register([Component("sampler", "annealed", Annealed)], name="toy"):
        with pytest.raises(OptionError, match=r"steps: is required"):
            registry.create("sampler", "annealed")
        with pytest.raises(OptionError, match=r"stesp: sampler 'annealed' has no option 'stesp'. Did you mean 'steps'"):
            registry.create("sampler", "annealed", stesp=3, steps=1)
        with pytest.raises(OptionError, match=r"rate: got 'fast'"):
            registry.create("sampler", "annealed", steps=3, rate="fast")


def test_partners_are_not_options():
    def source(data, teacher, generator, objective, size: int = 3):
        return data, size

    registry = Registry()
    with registry.register([Component("source", "mine", source)], name="toy"):
        assert list(registry.options_model("source", "mine").model_fields) == ["size"]
        made = registry.create("source", "mine", data="D", teacher=None, generator=None, objective=None, size=5)
        assert made == ("D", 5)


def test_any_keyword_is_an_option_of_a_target_that_takes_any():
    assert derived_options(lambda **anything: None).model_validate({"x": 1}).model_extra == {"x": 1}


def test_missing_abilities_are_listed_per_role_and_explained():
    registry = Registry()
    brought = [
        Component("objective", "needs_map", "m:a", needs=Needs(generator={"flow_map", "denoiser"}, data={"samples"})),
        Component("objective", "modest", "m:a", needs=Needs(generator={"denoiser"})),
        Component("generator", "plain", "m:a", can={"denoiser"}),
        Component("generator", "mapper", "m:a", can={"denoiser", "flow_map"}),
    ]
    with registry.register(brought, name="toy"):
        objective, plain = registry.find("objective", "needs_map"), registry.find("generator", "plain")
        lacking = missing(registry, objective, {}, plain, None, None)
        assert lacking == [("generator", "flow_map"), ("data", "samples")]
        said = explain_missing(registry, objective, lacking, {"generator": plain})
        assert "objective 'needs_map' needs of the generator:" in said and ABILITIES["flow_map"] in said
        assert "toy/mapper" in said and "The recipe has no data." in said and "modest" in said


def test_the_catalogue_is_a_mapping_of_cards_that_print_themselves():
    registry = Registry()
    card = Component(
        "objective", "carded", Annealed, summary="cools down", needs=Needs(generator={"denoiser"}), reference="A 2020"
    )
    with registry.register([card], name="toy"):
        objectives = Catalogue("objective", registry)
        assert "carded" in objectives and "no_such" not in objectives
        text = repr(objectives["carded"])
        for part in ("cools down", "denoiser", "A 2020", "rate", "float", "0.5", "steps", "required"):
            assert part in text
        assert "<pre>" in objectives["carded"]._repr_html_()


def test_module_functions_are_those_of_the_registry():
    import limbeck
    from limbeck import registry as either  # the module or the object, depending on what was imported first

    for name in ("plugins", "find", "resolve", "options_model", "create", "components", "validated", "register"):
        assert callable(getattr(either, name)) and callable(getattr(limbeck.registry, name))


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_a_raising_hook_is_named_and_does_not_silence_the_others():
    seen = []
    bad = SimpleNamespace(step_ended=hookimpl(lambda step: 1 / 0))
    good = SimpleNamespace(step_ended=hookimpl(lambda step, values: seen.append((step, values))))
    hooks = Hooks(plugins=[("bad_one", bad), ("good_one", good)])
    with pytest.raises(HookError, match=r"plugin 'bad_one' raised in hook 'step_ended': ZeroDivisionError") as caught:
        hooks("step_ended", run=None, step=3, values={"loss": 1.0})
    assert seen == [(3, {"loss": 1.0})]
    assert isinstance(caught.value, LimbeckError) and isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_callback_needs_no_decorator_and_takes_what_it_wants():
    class Count:
        total = 0

        def step_ended(self, step):
            self.total += step

    count = Count()
    hooks = Hooks([count], plugins=[])
    hooks("step_ended", run=None, step=2, values={})
    hooks("run_ended", run=None, step=2, status="finished")
    assert count.total == 2
    with pytest.raises(AttributeError, match="no hook 'step_endd'"):
        hooks("step_endd")


def test_a_plugin_function_without_the_decorator_is_not_a_hook():
    assert Hooks(plugins=[("p", SimpleNamespace(run_ended=lambda: 1))])("run_ended") == []


def test_every_hook_is_documented_and_unknown_ones_are_seen():
    assert all(getattr(HookSpecs, name).__doc__ for name in HOOKS)
    assert set(HOOKS) >= {"components", "run_started", "step_ended", "evaluated", "checkpoint_saved", "run_ended"}
    assert unknown_hooks(SimpleNamespace(run_startd=hookimpl(lambda: None)))
