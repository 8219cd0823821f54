"""Components that are only other defaults of one: `Component.defaults` put into its options and its class."""

from typing import Any

from limbeck.errors import PluginLoadError
from limbeck.plugins.index import Entry


def with_defaults_of(entry: Entry, model: Any) -> Any:
    """The pydantic model with the defaults of the manifest. Raises PluginLoadError when they do not fit."""
    if not entry.component.defaults:
        return model
    from limbeck.options import with_defaults

    try:
        return with_defaults(model, entry.component.defaults)
    except ValueError as error:
        raise PluginLoadError(
            f"{entry.distribution} states defaults of {entry.component.kind} {entry.component.name!r} that do not fit: "
            f"{error}. Tell the plugin's author."
        ) from error


def preset_class(entry: Entry, target: Any, options: Any) -> Any:
    """A class as a component with `defaults` describes it: a subclass with the component's options and needs, and its
    name where the class has one for its messages."""
    component = entry.component
    facts: dict[str, Any] = {"Options": options, "__doc__": component.summary, "__module__": target.__module__}
    facts |= {"name": component.name} if hasattr(target, "name") else {}
    facts |= {"needs": component.needs} if component.kind == "objective" else {}
    return type(target)(target.__name__, (target,), facts)
