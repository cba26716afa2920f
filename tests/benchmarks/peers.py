"""What others need for the same work: one SQLite table into one new Delta table.

Run by the Python of `.venv-bench`:  python peers.py NAME DATABASE TABLE FOLDER
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def dlt_connectorx(database: str, table: str, folder: str) -> None:
    _dlt("connectorx", database, table, folder)


def dlt_pyarrow(database: str, table: str, folder: str) -> None:
    _dlt("pyarrow", database, table, folder)


def _dlt(backend: str, database: str, table: str, folder: str) -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DLT_DATA_DIR"] = folder + "/dlt"
    import dlt
    from dlt.sources.sql_database import sql_table

    source = sql_table(
        credentials=f"sqlite:///{database}",
        table=table,
        backend=backend,
        chunk_size=64_000,
        reflection_level="full" if backend == "pyarrow" else "minimal",
    )
    source.apply_hints(table_format="delta")
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(Path(folder, "lake").as_uri()),
        dataset_name="bench",
        pipelines_dir=folder + "/pipelines",
    )
    pipeline.run(source, loader_file_format="parquet", write_disposition="append").raise_on_failed_jobs()


def connectorx(database: str, table: str, folder: str) -> None:
    import connectorx
    from deltalake import write_deltalake

    rows = connectorx.read_sql(f"sqlite://{database}", f'SELECT * FROM "{table}"', return_type="arrow")
    write_deltalake(folder + "/lake/table", rows)


def polars(database: str, table: str, folder: str) -> None:
    import polars as pl

    frame = pl.read_database_uri(f'SELECT * FROM "{table}"', f"sqlite://{database}", engine="connectorx")
    frame.write_delta(folder + "/lake/table")


PEERS = {
    "dlt (connectorx)": dlt_connectorx,
    "connectorx": connectorx,
    "polars": polars,
    "dlt (pyarrow)": dlt_pyarrow,
}
NEEDS = {"dlt (connectorx)": "dlt", "connectorx": "connectorx", "polars": "polars", "dlt (pyarrow)": "dlt"}


def main() -> None:
    """Do the work, or list the peers that are installed here."""
    if len(sys.argv) == 1:
        print("\n".join(name for name, needs in NEEDS.items() if find_spec(needs)))
    else:
        PEERS[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
