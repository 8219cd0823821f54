"""The options of a component: a model that it declares, or the keyword arguments of its target."""

import inspect
from collections.abc import Sequence
from typing import Any

from limbeck.plugins.index import Entry
from limbeck.plugins.targets import load_named, load_target

# What the engine hands to a component of a kind beside its options: not options of a recipe.
PARTNERS = {
    "source": ("data", "teacher", "generator", "objective"),
    "view": ("samples", "cond", "captions"),
    "exporter": ("run", "directory"),
}


def declared_options(entry: Entry) -> Any:
    """The pydantic model that the manifest names, else the target's `Options`, else one derived from its signature."""
    if entry.component.options is not None:
        return load_named(entry, entry.component.options)
    target = load_target(entry)
    declared = getattr(target, "Options", None)
    return declared if declared is not None else derived_options(target, PARTNERS.get(entry.component.kind, ()))


def derived_options(target: Any, partners: Sequence[str] = ()) -> Any:
    """A pydantic model of the keyword arguments of `target`, partners apart."""
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except Exception:
        hints = {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters) and not hasattr(target, "Options")
    fields: dict[str, Any] = {}
    for p in parameters:
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY) or p.name in partners:
            continue
        hint = hints.get(p.name, Any)
        if p.default is None:
            hint = hint | None if hint is not Any else hint
        fields[p.name] = (hint, ... if p.default is p.empty else p.default)
    config = ConfigDict(frozen=True, extra="allow" if takes_any else "forbid", arbitrary_types_allowed=True,
                        protected_namespaces=())  # fmt: skip
    make: Any = create_model
    model = make(f"{getattr(target, '__name__', 'Derived')}Options", __config__=config, **fields)
    model.derived_from_signature = True
    return model
