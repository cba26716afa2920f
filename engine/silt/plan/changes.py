"""How a source's columns have changed since a stream made its columns in the lake (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from silt.errors import UserError
from silt.manifest.model import Stream
from silt.plan.model import LakeColumn, Seen, SeenDatabase, SeenLake
from silt.position import app_id
from silt.shapes import RESCUED


def app_of(seen: Seen, database: SeenDatabase) -> str:
    """The transaction id of one database's slice."""
    return app_id(
        manifest=seen.manifest, node=seen.node, stream=seen.stream.name, database=database.database.name
    )


def has_run(seen: Seen, lake: SeenLake, databases: Iterable[SeenDatabase]) -> bool:
    """Whether the stream wrote to the table before: only then a difference is a change."""
    return lake.exists and any(app_of(seen, database) in lake.definitions for database in databases)


def gone(lake: SeenLake, names: Collection[str]) -> tuple[str, ...]:
    """Columns of the lake that a source's column made, as their comment says, and that none fills any more.

    `names` are those that any column of the source has, or would have, in the lake.
    """
    ours = (c.name for c in lake.columns if c.name != RESCUED and is_made_of(c, c.name))
    return tuple(name for name in ours if name not in names)


def is_made_of(column: LakeColumn, source: str) -> bool:
    """Whether a column of the lake was made of the source's column of that name, as its comment says."""
    return column.comment == source or column.comment.startswith(f"{source} ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Columns by their names in the lake: new ones, those that nothing fills any more, and `left_out` ones.

    `retyped` has for each whose values no longer fit the type that the source has for it now.
    """

    added: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    retyped: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of them, beside the columns that are added."""
        told = [f"{_are(self.gone)} no longer in the source: NULL from now on"] if self.gone else []
        told += [f"{_are(self.left_out)} new in the source, and left out"] if self.left_out else []
        told += [
            f"{name} is {now} in the source now: values that do not fit its column in the lake are rescued"
            for name, now in self.retyped.items()
        ]
        return tuple(told)

    def check(self, stream: Stream) -> None:
        """Raise `UserError` where the stream is to stop at a change."""
        if stream.on_schema_change == "fail" and (self.added or self.gone or self.retyped):
            raise UserError(
                f"the columns of {stream.table} changed in the source: {self}",
                why="on_schema_change: fail",
                hint="`on_schema_change: evolve` goes on with them; or undo it in the source",
                setting="on_schema_change",
            )

    def __str__(self) -> str:
        retyped = [f"{name} is {now} now" for name, now in self.retyped.items()]
        said = [f"{', '.join(self.added)} new"] if self.added else []
        said += [f"{', '.join(self.gone)} gone"] if self.gone else []
        return "; ".join((*said, *retyped))


def _are(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
