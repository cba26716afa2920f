"""`make bench`: what silt costs, as ratios within one run.

Each candidate is a cold process; candidates take turns, so that a slow minute of the machine hits all of
them.  The floor is floor.c: SQLite's own loop over every row and column, without a byte written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from tests.benchmarks.data import Dataset, dataset
from tests.benchmarks.measure import Cost, Failed, middle, run

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import hostile  # noqa: E402  (what the tests share is imported by its bare name, as pytest does)

FLOOR = "C floor"
BARE = "C, without mutex"
SILT = "silt run --once"
RSS_LIMIT = 320.0  # MB (issue: 5M rows under it)
DLT_RATIO = 2.5  # silt is at least this much faster than dlt's best backend
LIMITS = {"narrow": 1.6, "wide": 2.2}  # x the floor

Candidate = Callable[[Path], Cost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for."""

    rows: int
    rounds: int
    starts: bool
    peers: bool
    long: bool
    check: bool


def main() -> int:
    """Measure, print the tables, and with `--check` end with 1 when a target is missed."""
    options = _options()
    met = not options.starts or _startup(options.rounds)
    met &= _compare(dataset("narrow", options.rows), options, peers=options.peers)
    met &= _compare(dataset("wide", max(options.rows // 10, 1)), options, peers=False)
    if options.long:
        met &= _memory(options)
    return 0 if met or not options.check else 1


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=5_000_000, help="rows of the narrow table; the wide one has a tenth"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each candidate; the median counts")
    parser.add_argument("--no-starts", dest="starts", action="store_false", help="no --help, no validate")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only the floor and silt")
    parser.add_argument(
        "--long", action="store_true", help="also memory at 4 x ROWS, and dlt's slower backend"
    )
    parser.add_argument("--check", action="store_true", help="end with 1 when a target is missed")
    return Options(**vars(parser.parse_args()))


# --- Candidates. -----------------------------------------------------------------------------------------


def _floor(data: Dataset, *options: str) -> Candidate | None:
    """The C loop, compiled into the cache beside the data; None (said once) where that cannot be."""
    compiler = shutil.which("cc")
    if compiler is None:
        print(f"{FLOOR}: left out: no C compiler (cc) on this machine")
        return None
    binary = data.path.parent / "floor"
    subprocess.run([compiler, "-O2", "-o", binary, HERE / "floor.c", "-ldl"], check=True)

    def candidate(folder: Path) -> Cost:
        cost = run([binary, data.path, data.table, *options])
        _counted(FLOOR, int(cost.output.split()[0]), data.rows)
        return cost

    return candidate


@lru_cache(maxsize=1)
def _command() -> Path:
    """silt as a user has it: without what only tests need, and compiled as an installed wheel is."""
    lean = ROOT / ".venv-demo" / "bin" / "silt"
    command = lean if lean.exists() else Path(sys.executable).parent / "silt"
    run([command.parent / "python", "-m", "compileall", "-q", ROOT / "engine"])
    return command


def _silt(data: Dataset) -> Candidate:
    """`silt run --once` into a new lake, from a manifest of five lines, defaults everywhere else."""
    command = _command()

    def candidate(folder: Path) -> Cost:
        manifest = folder / "silt.yaml"
        document = {
            "version": 1,
            "state_dir": str(folder / "state"),
            "sources": {"bench": str(data.path)},
            "targets": {"lake": str(folder / "lake")},
            "streams": {data.table: None},
        }
        manifest.write_text(json.dumps(document), encoding="utf-8")
        cost = run([command, "run", manifest, "--once"])
        _counted(SILT, _rows_in(folder / "lake" / data.table), data.rows)
        return cost

    return candidate


def _peers(data: Dataset, *, long: bool) -> dict[str, Candidate]:
    """Other tools that are installed in .venv-bench; dlt's slow backend only when asked for."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    if not python.exists():
        print("peers: left out: no .venv-bench (make bench installs it)")
        return {}
    names = run([python, HERE / "peers.py"]).output.split("\n")

    def candidate_of(name: str) -> Candidate:
        def candidate(folder: Path) -> Cost:
            cost = run([python, HERE / "peers.py", name, data.path, data.table, folder])
            table = next(
                log.parent for log in (folder / "lake").rglob("_delta_log") if "_dlt" not in log.parent.name
            )
            _counted(name, _rows_in(table), data.rows)
            return cost

        return candidate

    return {name: candidate_of(name) for name in names if name and (long or "pyarrow" not in name)}


def _rows_in(table: Path) -> int:
    """How many rows the Delta table holds, from its log's statistics (every file here carries them)."""
    log = [
        json.loads(line)
        for path in (table / "_delta_log").glob("*.json")
        for line in path.open(encoding="utf-8")
    ]
    return sum(json.loads(entry["add"]["stats"])["numRecords"] for entry in log if "add" in entry)


def _counted(name: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise Failed(f"{name} moved {got:,} rows of {wanted:,}: its time means nothing")


# --- Runs and tables. ------------------------------------------------------------------------------------


def _compare(data: Dataset, options: Options, *, peers: bool) -> bool:
    """Measure one database and print its table; whether every target was met."""
    candidates: dict[str, Candidate] = {}
    if floor := _floor(data):
        candidates[FLOOR] = floor
    if bare := _floor(data, "nomutex"):
        candidates[BARE] = bare
    candidates[SILT] = _silt(data)
    if peers:
        candidates |= _peers(data, long=options.long)
    costs = _rounds(candidates, options.rounds, data.path.parent)
    width = 8 if data.shape == "narrow" else 40
    size = f"{data.rows:,} rows x {width} columns, {data.megabytes:,.0f} MB"
    print(f"\n{size}, median of {options.rounds}, cold processes")
    _table(costs)
    return _targets(data, costs)


def _rounds(candidates: Mapping[str, Candidate], rounds: int, cache: Path) -> dict[str, Cost]:
    """Let the candidates take turns; a peer that fails is left out with its reason (silt's ends all)."""
    costs: dict[str, list[Cost]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            if name not in costs:
                continue
            with tempfile.TemporaryDirectory(dir=cache, prefix="out-") as folder:
                try:
                    costs[name].append(candidate(Path(folder)))
                except Failed as failed:
                    if name in (FLOOR, SILT):
                        raise
                    print(f"{name}: left out: {failed}")
                    del costs[name]
    return {name: middle(runs) for name, runs in costs.items()}


def _table(costs: Mapping[str, Cost]) -> None:
    floor = costs.get(FLOOR)
    silt = costs[SILT]
    print(f"  {'':<18} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'x floor':>8} {'x silt':>8}")
    for name, cost in costs.items():
        over = f"{cost.wall / floor.wall:8.2f}" if floor else f"{'':>8}"
        spent = f"{cost.wall:8.2f} {cost.cpu:8.2f} {cost.peak:8.0f}"
        print(f"  {name:<18} {spent} {over} {cost.wall / silt.wall:8.2f}")


def _targets(data: Dataset, costs: Mapping[str, Cost]) -> bool:
    """Print each target with its figure; whether all were met."""
    silt = costs[SILT]
    met = []
    with suppress(KeyError):
        limit = LIMITS[data.shape]
        ratio = silt.wall / costs[FLOOR].wall
        met.append(_target(f"silt <= {limit} x floor", f"{ratio:.2f}", ok=ratio <= limit))
    if data.shape == "narrow":
        met.append(_target(f"peak < {RSS_LIMIT:.0f} MB", f"{silt.peak:.0f} MB", ok=silt.peak < RSS_LIMIT))
    if peers := [cost.wall for name, cost in costs.items() if name.startswith("dlt")]:
        faster = min(peers) / silt.wall
        met.append(_target(f"dlt's best >= {DLT_RATIO} x silt", f"{faster:.2f}", ok=faster >= DLT_RATIO))
    return all(met)


def _startup(rounds: int) -> bool:
    """What a person waits for: help, a large manifest, hostile ones; whether every target was met."""
    print(f"\ncold processes, median of {rounds}")
    lines = [("--help", ["--help"], 0.3, 0)]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"500 streams": hostile.large(500).encode(), **hostile.hostile()}.items():
            path = Path(folder) / f"{name}.yaml"
            path.write_bytes(text)
            valid = name == "500 streams"
            lines.append(
                (f"validate: {name}", ["validate", str(path)], 1.0 if valid else 2.0, int(not valid))
            )
        return all([_waited(*line, rounds) for line in lines])  # noqa: C419  (all of them are measured)


def _waited(what: str, arguments: Sequence[str], limit: float, code: int, rounds: int) -> bool:
    costs = [run([_command(), *arguments], code=code).wall for _ in range(rounds)]
    return _target(f"{what} < {limit} s", f"{median(costs):.2f} s", ok=median(costs) < limit)


def _memory(options: Options) -> bool:
    """Peak memory at 4 x the rows: within 10% of the peak at the rows themselves."""
    peaks = []
    for rows in (options.rows, options.rows * 4):
        data = dataset("narrow", rows)
        costs = _rounds({SILT: _silt(data)}, 1, data.path.parent)
        print(f"\n{rows:,} rows x 8 columns, {data.megabytes:,.0f} MB, one cold process")
        _table(costs)
        peaks.append(costs[SILT].peak)
    growth = peaks[1] / peaks[0]
    return _target("peak at 4 x the rows <= 1.1 x the peak", f"{growth:.2f}", ok=growth <= 1.1)


def _target(what: str, got: str, *, ok: bool) -> bool:
    print(f"  {'met   ' if ok else 'MISSED'} {what}: {got}")
    return ok


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"bench: {failed}")
