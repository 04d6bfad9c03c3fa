"""A ValueStore in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from feature_store.online.values import Change, Values


@dataclass
class MemoryValues:
    values: dict[str, bytes] = field(default_factory=dict)
    generations: int = 0

    def publish(self, values: Iterable[tuple[str, bytes]], *, ttl_s: float) -> str:
        self.values = dict(values)
        self.generations += 1
        return str(self.generations)

    def generation(self) -> str | None:
        return str(self.generations) if self.generations else None

    def published(self) -> bool:
        return self.generations > 0

    def read(self, keys: Sequence[str]) -> Values:
        return [self.values.get(key) for key in keys]

    def update(self, keys: Sequence[str], change: Change) -> bool:
        found = change(self.read(keys))
        self.values |= found or {}
        return found is not None

    def delete(self, keys: Sequence[str]) -> int:
        return sum(self.values.pop(key, None) is not None for key in keys)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))
