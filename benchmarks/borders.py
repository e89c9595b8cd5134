"""`python -m benchmarks.borders [--quick] [--page docs/borders.md]`: the tables of borders, made anew.

Where LPUs win over GPUs, against five baselines, with and without drafts and wafers, for one user
and many, models dense and of experts, the LPU of 2020 and that of 2026; and what else moves the
border. `--quick` looks at fewer sizes and leaves out models with experts.
"""

import argparse
import itertools
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from planner.studies.advantage.tables import BorderRow, BorderTable, Contest, border_table
from planner.studies.advantage.terms import Terms

PAGE = Path(__file__).parents[1] / "docs" / "borders.md"
SPEEDS = (50.0, 100.0, 200.0)
HEADLINE = 100.0
SIZES = tuple(float(size) for size in np.geomspace(8e9, 2e12, 16))
BASELINES = {
    "hgx-h100": "H100",
    "hgx-h200": "H200",
    "mi300x-8": "MI300X",
    "hgx-b200": "B200",
    "gb200-nvl72": "GB200",
}
LPUS = {"groq-lpu-chain": "LPU v1", "groq3-lpx": "Groq 3 LPU"}
WAFER = "cerebras-cs3"
DRAFTS = {"none": "no drafts", "best": "drafts"}
USERS = {None: "many users", 1: "one user"}
NOTHING = "No LPU wins against any of the five."


def headline(family: str, drafts: str) -> Iterator[Contest]:
    """Of one family, with drafts or without: every baseline, LPU and number of users, wafers
    present or absent."""
    for lpu, users, baseline in itertools.product(LPUS, USERS, BASELINES):
        for others in ((), (WAFER,)):
            beside = ", wafers present" if others else ""
            yield Contest(
                what=f"{BASELINES[baseline]}, {LPUS[lpu]}, {USERS[users]}{beside}",
                baseline=baseline,
                challenger=lpu,
                others=others,
                family=family,
                terms=Terms(drafts=drafts, most_users=users),
            )


def moves() -> Iterator[Contest]:
    """One thing changed at a time, from the H100 and the LPU of 2020, dense, many users."""

    def one(what: str, **changed: object) -> Contest:
        fields = {
            name: changed.pop(name)
            for name in ("baseline", "challenger", "metric", "family")
            if name in changed
        }
        return Contest(what=what, terms=Terms(**changed), **fields)

    yield one("nothing: H100 against LPU v1")
    for name, short in list(BASELINES.items())[1:]:
        yield one(f"{short} in place of H100", baseline=name)
    yield one("Rubin in place of H100", baseline="vera-rubin-nvl72")
    yield one("Groq 3 LPU in place of LPU v1", challenger="groq3-lpx")
    yield one(
        "LPU v1 wired as Groq's dragonfly in place of the chain", challenger="groq-lpu-dragonfly"
    )
    yield one("drafts: each machine in the best way that its software has", drafts="best")
    yield one("one user at a time", most_users=1)
    yield one("at most 8 users", most_users=8)
    yield one("30 requests/s", requests_per_s=30.0)
    yield one("1 request/s", requests_per_s=1.0)
    yield one("machines in use 30 % of all hours", utilisation=0.3)
    yield one("separate pools for prefill and decode, where the software has them", pools=True)
    yield one("weights in 16 bit", weight_dtype="bf16")
    yield one("weights in 4 bit, on chips that multiply 4 bit", weight_dtype="nvfp4")
    yield one("all machines store fp8, also those that do not multiply it", formats="stored")
    yield one("prompts of 128 tokens", prompt_tokens=128)
    yield one("prompts of 8,192 tokens", prompt_tokens=8192)
    yield one("outputs of 1,024 tokens", output_tokens=1024)
    yield one("watts as provisioned, not as drawn", power_basis="provisioned")
    yield one("watts of the chips alone, not at the wall", power_scope="chip")
    yield one("PUE 1.5", pue=1.5, power_scope="facility")
    yield one("dollars, not joules; chips priced with their nodes", metric="usd_per_million_tokens")
    yield one("any plan, not only those that the engine can run", space="any")


def _told(row: BorderRow) -> None:
    print(
        f"{row.what}: {'; '.join(f'{speed:g}: {row.words(speed)}' for speed in SPEEDS)}", flush=True
    )


def _say_costs(what: str) -> None:
    """Of all that was made so far; on Linux the peak is in KiB."""
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    minutes = time.process_time() / 60
    print(f"{what}: {minutes:.1f} CPU minutes so far, at most {peak_gb:.1f} GB", flush=True)


def _matrix(table: BorderTable, lpu: str, wafers: bool, speed: float) -> Iterator[str]:
    """Baselines down, users across; one sentence where no cell has a border."""
    beside = ", wafers present" if wafers else ""
    lines = {
        short: [
            table.row(f"{short}, {lpu}, {users}{beside}").words(speed) for users in USERS.values()
        ]
        for short in BASELINES.values()
    }
    if all(cell == "none" for cells in lines.values() for cell in cells):
        yield NOTHING
        return
    yield f"| baseline | {' | '.join(USERS.values())} |"
    yield f"|---|{'---|' * len(USERS)}"
    for short, cells in lines.items():
        yield f"| {short} | {' | '.join(cells)} |"


def written(text: str, mark: str, lines: str) -> str:
    """The page with what stands between two marks in place of what stood there."""
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)"
    if not re.search(pattern, text, flags=re.DOTALL):
        raise SystemExit(f"the page has no place for {mark}")
    return re.sub(
        pattern, lambda found: f"{found[1]}\n{lines}\n\n{found[2]}", text, flags=re.DOTALL
    )


def main() -> None:
    """Price, print, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.borders", description="Tables of borders.")
    parser.add_argument("--quick", action="store_true", help="few sizes, no models with experts")
    parser.add_argument("--only", choices=("moves", "dense", "moe"), help="one part of the page")
    parser.add_argument("--page", type=Path, default=PAGE, help="whose tables are replaced")
    options = parser.parse_args()
    sizes = SIZES[::3] if options.quick else SIZES
    if options.only in (None, "moves"):
        table = border_table(
            list(moves()), speeds=SPEEDS, sizes=sizes, proved="engines", progress=_told
        )
        text = options.page.read_text(encoding="utf-8")
        options.page.write_text(written(text, "moves", table.moves(HEADLINE)), encoding="utf-8")
        _say_costs("moves")
    families = [name for name in ("dense", "moe") if options.only in (None, name)]
    if options.quick and options.only is None:
        families = [name for name in families if name == "dense"]
    for family, drafts in itertools.product(families, DRAFTS):
        table = border_table(
            list(headline(family, drafts)), speeds=SPEEDS, sizes=sizes, progress=_told
        )
        for speed in SPEEDS:
            parts = []
            for lpu, wafers in itertools.product(LPUS.values(), (False, True)):
                heading = f"**{lpu}, {'beside wafers' if wafers else 'without wafers'}**"
                parts.append("\n".join((heading, "", *_matrix(table, lpu, wafers, speed))))
            text = options.page.read_text(encoding="utf-8")
            mark = f"{family} {drafts} {speed:g}"
            options.page.write_text(written(text, mark, "\n\n".join(parts)), encoding="utf-8")
        _say_costs(f"{family}, {DRAFTS[drafts]}")


if __name__ == "__main__":
    main()
