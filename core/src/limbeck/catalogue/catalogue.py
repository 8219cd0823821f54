"""The components of one kind, by name: `limbeck.objectives` and its like."""

from collections.abc import Iterator, Mapping

from limbeck.catalogue.cards import Card
from limbeck.errors import RegistryError
from limbeck.plugins.registry import Registry, registry


class Catalogue(Mapping[str, Card]):
    """Components of one kind by name; each value prints itself."""

    def __init__(self, kind: str, registry: Registry = registry):
        self._kind, self._registry = kind, registry

    def __getitem__(self, name: str) -> Card:
        return Card(self._registry.find(self._kind, name), self._registry)

    def __iter__(self) -> Iterator[str]:
        entries = self._registry.components(self._kind)
        names = [e.component.name for e in entries]
        return iter([e.component.name if names.count(e.component.name) == 1 else e.qualified for e in entries])

    def __len__(self) -> int:
        return len(self._registry.components(self._kind))

    def __contains__(self, name: object) -> bool:
        try:
            self._registry.find(self._kind, str(name))
        except RegistryError:
            return False
        return True

    def __repr__(self) -> str:
        return f"{self._kind}s: {', '.join(self)}"


objectives = Catalogue("objective")
