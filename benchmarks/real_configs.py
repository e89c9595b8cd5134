"""What is read of real configs, beside true counts: `python -m benchmarks.real_configs FOLDER …`.

A folder is called by its source: `aic` (config files of the package aiconfigurator-core 0.12), `mlc`
(presets of mlc-llm, one file each), `xft` (examples of xFasterTransformer). True counts stand in
`tests/data/true_counts.csv`; what is printed is the table of `docs/model_counts.md`. Files of others are
read where they lie and are no part of the project. Parameters and weights are in 1e9 and GB, caches
those of one sequence of 131,072 tokens at 16 bit, in GB, states of recurrences apart.
"""

import argparse
import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import planner as pl
from planner.errors import InputError

COUNTS = Path(__file__).parent.parent / "tests" / "data" / "true_counts.csv"
SIDECAR = "hf_quant_config.json"
HEADER = (
    "config", "parameters, true", "read", "active, true", "read", "cache, true", "read",
    "weights, true", "read", "verdict",
)  # fmt: skip
TOKENS = 131_072
EXACT, RIGHT = 1e-3, 1e-2


class Row(NamedTuple):
    """One config."""

    name: str
    true: dict[str, float]
    read: dict[str, float] | None
    """None: it was refused."""
    said: str
    doubt: str

    @property
    def verdict(self) -> str:
        """Right to a thousandth or a hundredth, refused, or wrong."""
        if self.read is None:
            return f"refused: {self.said}"
        worst = max(abs(self.read[key] - true) / max(true, 1.0) for key, true in self.true.items())
        if worst <= EXACT:
            return "exact"
        return "right" if worst <= RIGHT else "doubtful truth" if self.doubt else "WRONG"


def rows_of(folder: Path) -> Iterator[Row]:
    """Of every config in a folder that has a true count."""
    source = folder.name if folder.name in ("mlc", "xft") else "aic"
    with COUNTS.open(encoding="utf-8") as table:
        counts = [row for row in csv.DictReader(table) if row["source"] == source]
    with tempfile.TemporaryDirectory() as scratch:
        for row in counts:
            path = _placed(folder, row["name"], Path(scratch))
            if path is not None:
                yield _row(f"{source}: {row['name']}", row, path)


def _placed(folder: Path, name: str, scratch: Path) -> Path | None:
    """A config as it lies in a repository, with ModelOpt's file beside it where there is one."""
    found = [folder / f"{name}_config.json", folder / f"{name}.json", folder / name / "config.json"]
    config = next((path for path in found if path.is_file()), None)
    if config is None:
        return None
    home = scratch / name
    home.mkdir(exist_ok=True)
    shutil.copy(config, home / "config.json")
    beside = folder / f"{name}_{SIDECAR}"
    if beside.is_file():
        shutil.copy(beside, home / SIDECAR)
    return home


def _row(name: str, counts: dict[str, str], home: Path) -> Row:
    true = {
        key: float(counts[key])
        for key in ("parameters", "active", "cache_bytes_at_131072", "weight_bytes")
    }
    read, said = None, ""
    try:
        # True caches are counted at 16 bit, whatever a checkpoint asks for.
        graph = pl.load_model(home, kv_dtype="bf16")
    except InputError as error:
        said = str(error).rpartition("config.json: ")[2][:120]
    else:
        read = {
            "parameters": graph.parameters,
            "active": graph.parameters_active,
            "cache_bytes_at_131072": graph.cache_bytes(TOKENS) - graph.state_bytes_per_sequence,
            "weight_bytes": graph.weight_bytes,
        }
    return Row(name, true, read, said, counts["doubt"])


def table_of(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for row in rows:
        cells = [row.name]
        for key, unit in (
            ("parameters", 1e9),
            ("active", 1e9),
            ("cache_bytes_at_131072", 1e9),
            ("weight_bytes", 1e9),
        ):
            cells.append(f"{row.true[key] / unit:.6g}")
            cells.append("" if row.read is None else f"{row.read[key] / unit:.6g}")
        lines.append("| " + " | ".join([*cells, row.verdict]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    rows = [row for folder in parser.parse_args().folders for row in rows_of(folder)]
    print(table_of(rows))
    verdicts = [row.verdict.partition(":")[0] for row in rows]
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})


if __name__ == "__main__":
    main()
