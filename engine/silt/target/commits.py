"""What every commit of silt's carries (mark, transactions, no hooks of delta-rs's), and what all refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction

from silt.errors import UserError
from silt.target.log import MARK

HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""Checkpoints are silt's own (`Table.checkpoint`): it must know of them."""


def commit_properties(
    txns: Sequence[tuple[str, int]], metadata: Mapping[str, str], *, retries: int, promised: int | None = None
) -> CommitProperties:
    """Transactions without `last_updated`, which never expire; the metadata twice: for silt, for people.

    An entry that has fewer transactions than were `promised` (None: all of them) is torn.  `userMetadata` is
    the column that DESCRIBE HISTORY shows.
    """
    shown = " ".join(f"{name}={value}" for name, value in metadata.items())
    return CommitProperties(
        custom_metadata={
            MARK: {**metadata, "txns": len(txns) if promised is None else promised},
            "userMetadata": f"silt {shown}".strip(),
        },
        max_commit_retries=retries,
        app_transactions=[Transaction(app, number) for app, number in txns],
    )


def clean_log(delta: DeltaTable) -> bool:
    """Remove the entries and checkpoints that `delta.logRetentionDuration` (30 days) lets go.

    False where the table says that nothing is to be cleaned up.
    """
    said = delta.metadata().configuration.get("delta.enableExpiredLogCleanup", "true")
    if said.lower() != "true":
        return False
    delta.cleanup_metadata()
    return True


def refuse_deletion_vectors(delta: DeltaTable, *, on: str) -> None:
    """Raise `UserError` where rows are deleted by vectors, which deltalake 1.6.3 would bring back (FACTS)."""
    if "deletionVectors" not in (delta.protocol().reader_features or []):
        return
    if delta.deletion_vectors().read_all().num_rows:
        raise UserError(
            "the table holds deletion vectors, which deltalake would not keep",
            on=on,
            hint="REORG TABLE ... APPLY (PURGE) in Databricks removes them",
        )
