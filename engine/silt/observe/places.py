"""Where a stream's Delta tables are, without looking at any of them."""

from __future__ import annotations

from silt.errors import SiltError
from silt.manifest.model import Manifest, Stream
from silt.source.open import find


def places(manifest: Manifest, stream: Stream) -> tuple[str, ...]:
    """The paths of its tables under the target's URI; none where there is one a database, and no database."""
    if not stream.separates_databases:
        return (stream.into,)
    origin = manifest.source(stream.source)
    try:
        databases = find(origin.path, origin.exclude)
    except SiltError:  # the source is away: what its databases are called is not known
        return ()
    return tuple(dict.fromkeys(stream.path_for(database.name) for database in databases))
