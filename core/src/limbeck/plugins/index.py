"""Components by kind and name: what a bare or a qualified name means, and what is known when it means nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from limbeck.errors import AmbiguousComponent, RegistryError, UnknownComponent, did_you_mean
from limbeck.manifest import KINDS, Component
from limbeck.plugins.discovery import PluginStatus, strict


@dataclass(frozen=True)
class Entry:
    """A component and who brings it."""

    component: Component
    plugin: str
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        return f"{self.plugin}/{self.component.name}"


def collide(one: Component, other: Component) -> bool:
    """Whether two components of one kind and name cannot both be meant by it: of one modality, or of any."""
    return one.modality == other.modality or "any" in (one.modality, other.modality)


class Index:
    """The components of described plugins. `rows` are those plugins, a second bearer of a name marked as duplicate."""

    def __init__(self, rows: Iterable[PluginStatus]):
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self.rows = [self._add(row) for row in rows]

    def _add(self, row: PluginStatus) -> PluginStatus:
        taken = []
        for component in row.components:
            others = self._entries.setdefault((component.kind, component.name), [])
            rival = next((other for other in others if collide(other.component, component)), None)
            if rival is not None:
                taken.append(f"{component.kind} {component.name!r} is already brought by {rival.distribution}")
            others.append(Entry(component, row.name, row.distribution, row.version))
        if not taken or row.status != "ok":
            return row
        reason = "; ".join(taken)
        fix = f"write {row.name}/NAME in recipes, or set LIMBECK_DISABLE={row.name}"
        if strict():
            raise RegistryError(f"{row.distribution}: {reason}. {fix}")
        return replace(row, status="duplicate", reason=reason, fix=fix)

    def components(self, kind: str | None = None, modality: str | None = None) -> list[Entry]:
        """Everything described, sorted by kind and name. `modality` keeps those for it and those for any."""
        kinds = list(KINDS)
        found = [
            entry
            for entries in self._entries.values()
            for entry in entries
            if kind in (None, entry.component.kind)
            and (modality is None or entry.component.modality in (modality, "any"))
        ]
        return sorted(found, key=lambda e: (kinds.index(e.component.kind), e.component.name, e.plugin))

    def find(self, kind: str, name: str) -> Entry:
        """The one component of that name, bare or `plugin/name`. Raises UnknownComponent or AmbiguousComponent."""
        if kind not in KINDS:
            raise UnknownComponent(f"no kind {kind!r}. {did_you_mean(kind, KINDS)}Kinds: {', '.join(KINDS)}")
        plugin, slash, bare = str(name).rpartition("/")
        entries = self._entries.get((kind, bare), [])
        if slash:
            entries = [e for e in entries if plugin in (e.plugin, e.distribution)]
        if len(entries) == 1:
            return entries[0]
        if entries:
            raise AmbiguousComponent(_ambiguous(kind, name, entries))
        raise UnknownComponent(self._unknown(kind, str(name)))

    def _unknown(self, kind: str, name: str) -> str:
        known = self.components(kind)
        bare = sorted({e.component.name for e in known})
        names = sorted({*bare, *(e.qualified for e in known if "/" in name)})
        listing = ", ".join(bare[:12]) + (", ..." if len(bare) > 12 else "")
        message = f"no {kind} named {name!r}. {did_you_mean(name, names)}"
        message += f"Known: {listing or 'none'} (limbeck list {kind if kind == 'data' else kind + 's'})."
        plugin = name.partition("/")[0] if "/" in name else ""
        for row in self.rows:
            meant = plugin in (row.name, row.distribution) or (not plugin and row.status != "disabled")
            if row.status != "ok" and meant:
                message += f"\n{row.distribution} is {row.status}: {row.reason}. {row.fix}"
        return message


def _ambiguous(kind: str, name: str, entries: list[Entry]) -> str:
    names = " or ".join(repr(e.qualified) for e in entries)
    if any(collide(a.component, b.component) for a in entries for b in entries if a is not b):
        who = ", ".join(f"{e.distribution} {e.version}".strip() for e in entries)
        return f"{kind} {name!r} is brought by {len(entries)} distributions: {who}. Write {names}."
    *some, last = (e.component.modality for e in entries)
    return f"{kind} {name!r} exists for {', '.join(some)} and {last}. Write {names}."
