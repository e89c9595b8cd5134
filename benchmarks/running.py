"""Plans carried out here beside their prices: `python -m benchmarks.running MODEL --machine here.toml`.

Three sorts of runs of one model, in a table that `planner.calibration.runs` reads, so that one that
was interrupted goes on: those that the stack's figures are fitted on, those that are held against
the prices, and what the planner picks in searches. The model should have at least 300 M parameters,
so that weights exceed caches. Where times by the wall are to count, the machine must be idle, and
`--repeats 3` runs plans of no more ranks than cores three times.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planner import load_model, load_topology, partition
from planner.calibration.covering import covers_of
from planner.calibration.fitting import residuals_of
from planner.calibration.runs import (
    KeptRun,
    Shape,
    median_run,
    plan_of,
    read_runs,
    repeats_of,
    runs_csv,
    shape_of,
)
from planner.catalogue import load_software
from planner.machines.topology import Topology
from planner.readers.files import parsed_json, read_text
from planner.readers.topology_file import intervals_toml
from planner.running.comparing import WORK_STACK, PlanRun, Question, compared, job_for
from planner.running.launching import Ranks
from planner.scoring.vouching import setting_of

OUTPUT_TOKENS = 6
CORES = 2
"""Of the machine that searches are made for."""
FITTED_ON = ((2, 64), (6, 96), (12, 48))
"""Batch and prompt tokens."""
HELD_OUT = (
    (1, 32), (16, 64), (4, 128), (1, 512), (8, 32), (2, 256),
    (1, 128), (16, 32), (4, 32), (8, 128), (2, 64), (4, 64),
)  # fmt: skip
MIXTURE_FITTED_ON = ((2, 96),)
MIXTURE = ((1, 64), (4, 64), (8, 32))
"""What a mixture of experts is asked."""
FITTED = (
    "kernel_overhead_s",
    "step_overhead_s",
    "compute_efficiency",
    "memory_efficiency",
    "attention_efficiency",
    "cache_efficiency",
    "hop_overhead_s",
)
MESSAGES = ("base_latency_s", "bandwidth_fraction")
"""Of collectives."""
PULL = 0.1
"""Of a figure's logarithm towards where it was, beside a stage's error."""
MOST_KEPT_S = 20.0
"""For a search."""


class Compared(NamedTuple):
    """A run beside its price."""

    kept: KeptRun
    found: PlanRun


class Pick(NamedTuple):
    """What the planner picked for a batch, and the fastest of all plans that ran for it."""

    kept: KeptRun
    seconds_s: float
    best: KeptRun
    best_s: float

    @property
    def slower(self) -> float:
        """By this share."""
        return self.seconds_s / self.best_s - 1


class Bench:
    """A model on this machine, and the table of its runs."""

    def __init__(self, model: Path, machine: Path, rows: Path) -> None:
        self.config = parsed_json(read_text(model, "a config"), model)
        self.graph = load_model(model, weight_dtype="fp32", kv_dtype="fp32")
        self.topology = load_topology(machine)
        self.names = model.stem, machine.stem
        self.rows = rows

    def case(self, sort: str, shape: Shape, batch: int, prompt: int) -> KeptRun:
        """What is to be run."""
        return KeptRun(*self.names, sort, shape, batch, prompt, OUTPUT_TOKENS, ())

    def question(self, case: KeptRun, topology: Topology | None = None) -> Question:
        """A case, on a machine whose stack may be another."""
        return Question(self.graph, self.config, topology or self.topology, case.workload)

    def known(self) -> list[KeptRun]:
        """Runs of this model on this machine that the table has."""
        return [run for run in self._all() if (run.model, run.machine) == self.names]

    def _all(self) -> tuple[KeptRun, ...]:
        return read_runs(self.rows) if self.rows.exists() else ()

    def compared(self, kept: KeptRun, topology: Topology | None = None) -> Compared:
        """A run beside its price on that machine."""
        asked = self.question(kept, topology)
        return Compared(kept, compared(plan_of(kept.shape), asked, kept.reports))

    def least(self, alike: Sequence[KeptRun], topology: Topology | None = None) -> Compared:
        """Of repeats the one that took least by the wall: whatever else ran only added to it."""
        found = [self.compared(one, topology) for one in alike]
        return min(found, key=lambda one: one.found.request_s.measured)

    def run(self, wanted: Sequence[KeptRun], repeats: int = 1) -> None:
        """Each case as often as the table does not yet have it."""
        kept = self._all()
        done = [run.question for run in kept]
        with Ranks() as ranks:
            for case in wanted:
                plan = plan_of(case.shape)
                for _ in range(done.count(case.question), repeats):
                    told = ranks.run(job_for(plan, self.question(case)))
                    plain = [one.replace(tokens=(), logits=()) for one in told]
                    self._keep(case._replace(reports=tuple(plain)), len(done))
                    done.append(case.question)

    def _keep(self, run: KeptRun, number: int) -> None:
        with self.rows.open("a", encoding="utf-8") as stream:
            stream.write(runs_csv([run], number))


def cases(bench: Bench) -> Iterator[KeptRun]:
    """What is run before anything is fitted."""
    layers = bench.config["num_hidden_layers"]
    third = layers // 3
    for batch, prompt in FITTED_ON:
        for shape in (
            Shape((layers,)),
            Shape((layers,), tensor=2),
            Shape((third, third, layers - 2 * third), micro_batches=2),
        ):
            yield bench.case("fitted on", shape, batch, prompt)
    half, sixth = layers // 2, layers // 6
    quarter = layers // 4
    more = (
        ((quarter,) * 3 + (layers - 3 * quarter,), 4),
        ((layers - 2 * sixth, 2 * sixth), 2),
        ((sixth, half - sixth, half - sixth, layers - 2 * half + sixth), 1),
    )
    for number, (batch, prompt) in enumerate(HELD_OUT):
        cuts, micro_batches = more[number % len(more)]
        for shape in (
            Shape((layers,)),
            Shape((layers,), tensor=2),
            Shape((half, layers - half), micro_batches=min(2, batch)),
            Shape(cuts, micro_batches=min(micro_batches, batch)),
            Shape((layers,), replicas=2),
        ):
            if batch % shape.replicas == 0:
                yield bench.case("held out", shape, batch, prompt)


def mixture_cases(bench: Bench) -> Iterator[KeptRun]:
    """What is run of a mixture of experts."""
    layers = bench.config["num_hidden_layers"]
    half = layers // 2
    for batch, prompt in (*MIXTURE_FITTED_ON, *MIXTURE):
        sort = "fitted on" if (batch, prompt) in MIXTURE_FITTED_ON else "held out"
        for shape in (
            Shape((layers,)),
            Shape((layers,), tensor=2),
            Shape((layers,), tensor=2, expert=2),
            Shape((half, layers - half), micro_batches=min(2, batch)),
        ):
            yield bench.case(sort, shape, batch, prompt)


class Fitted(NamedTuple):
    """The machine with figures of its own."""

    by_wall: Topology
    by_work: Topology


def fitted(bench: Bench, runs: Sequence[KeptRun]) -> Fitted:
    """The machine with its stack's figures moved so that the logarithms of CPU seconds differ
    least, and then its collectives so that seconds by the wall do."""
    alike = repeats_of(runs)
    work = bench.topology.replace(software=load_software(WORK_STACK))
    rows = [median_run(repeats) for repeats in alike]
    found = _moved(work, (*FITTED, *MESSAGES), lambda machine: _errors(bench, rows, machine))
    own = {name: getattr(found.software, name) for name in FITTED}
    waits = bench.topology.replace(software=bench.topology.software.replace(**own))
    few = [repeats for repeats in alike if plan_of(repeats[0].shape).chips <= CORES]
    split = [repeats for repeats in few if repeats[0].shape.tensor > 1]
    whole = _moved(waits, MESSAGES, lambda machine: _wall_errors(bench, split, machine))
    return Fitted(whole, found)


def _moved(start: Topology, names: Sequence[str], errors_of: Any) -> Topology:
    """A machine with figures of its stack moved to where errors are least: Gauss-Newton, damped,
    in logarithms."""
    at = np.log([figures_of(start)[name] for name in names])
    most = np.array([np.inf if name.endswith("_s") else 0.0 for name in names])

    def errors(point: Any) -> Any:
        # What runs do not tell apart stays where it was.
        return np.append(errors_of(_with(start, names, point)), PULL * (point - at))

    point, damping = at, 0.1
    error = errors(point)
    for _ in range(25):
        slopes = []
        for place in range(len(point)):
            moved = point.copy()
            moved[place] -= 0.02
            slopes.append((error - errors(moved)) / 0.02)
        jacobian = np.array(slopes).T
        square = jacobian.T @ jacobian + damping * np.eye(len(point))
        step = np.clip(-np.linalg.solve(square, jacobian.T @ error), -0.5, 0.5)
        tried = np.minimum(point + step, most)
        found = errors(tried)
        if found @ found < error @ error:
            point, error, damping = tried, found, damping / 2
        else:
            damping *= 4
    return _with(start, names, point)


def figures_of(topology: Topology) -> dict[str, float]:
    """What is fitted, as it stands; what a stack leaves out is as large as what stands for it."""
    software = topology.software
    kernel = software.collectives[0]
    return {name: float(getattr(software, name)) for name in FITTED} | {
        name: float(getattr(kernel, name)) for name in MESSAGES
    }


def _with(topology: Topology, names: Sequence[str], point: Any) -> Topology:
    """The machine with other figures."""
    values = dict(zip(names, np.exp(point).tolist(), strict=True))
    own = {name: value for name, value in values.items() if name in FITTED}
    sent = {name: value for name, value in values.items() if name in MESSAGES}
    kernel = topology.software.collectives[0].replace(**sent)
    return topology.replace(software=topology.software.replace(**own, collectives=(kernel,)))


def _errors(bench: Bench, rows: Sequence[KeptRun], machine: Topology) -> list[float]:
    """Of each phase of each stage, by CPU seconds."""
    errors = []
    for run in rows:
        for stage in bench.compared(run, machine).found.stages:
            for pair in (stage.prefill_cpu_s, stage.decode_cpu_s):
                errors.append(math.log(pair.predicted / pair.measured))
    return errors


def _wall_errors(
    bench: Bench, alike: Sequence[Sequence[KeptRun]], machine: Topology
) -> list[float]:
    """Of each phase of each plan, by the wall."""
    errors = []
    for repeats in alike:
        times = time_pairs(bench.least(repeats, machine).found, by_wall=True)
        errors += [math.log(times[name][0] / times[name][1]) for name in ("ttft_s", "tpot_s")]
    return errors


def searches(bench: Bench) -> list[KeptRun]:
    """What the planner picks on as many cores, for each batch that is held out."""
    few = bench.topology.replace(chips=CORES)
    picked = []
    for batch, prompt in HELD_OUT:
        case = bench.case("picked", Shape((1,)), batch, prompt)
        result = partition(
            bench.graph, few, case.workload, minimize="request_s", time_limit_s=MOST_KEPT_S
        )
        picked.append(case._replace(shape=shape_of(result.plan)))
    return picked


def kind_of(shape: Shape) -> str:
    """Plans that are told of together."""
    stages = len(shape.cuts)
    if shape.replicas > 1:
        return f"{shape.replicas} × TP {shape.tensor}"
    if shape.expert > 1:
        return f"EP {shape.expert}"
    return f"PP {stages}" if stages > 1 else f"TP {shape.tensor}"


def summary(runs: Sequence[Compared]) -> list[str]:
    """How far predictions lie from what was measured, for each kind of plan and for all."""
    lines = ["| plans | runs | stages | prompts | later tokens | both | both, p90 | within 15 % |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    kinds = dict.fromkeys(kind_of(one.kept.shape) for one in runs)
    for kind in kinds:
        lines.append(_errors_line(kind, [one for one in runs if kind_of(one.kept.shape) == kind]))
    lines.append(_errors_line("all", runs))
    held = max(abs(stage.held_bytes.ratio - 1) for one in runs for stage in one.found.stages)
    exact = sum(moves_as_priced(one.found) for one in runs)
    lines += [
        "",
        f"Memory differs by {held:.2%} at most; bytes between ranks are equal in {exact} of"
        f" {len(runs)} plans.",
    ]
    return lines


def stage_errors(runs: Sequence[Compared], name: str) -> list[float]:
    """|predicted / measured - 1| of a pair of each stage."""
    pairs = [getattr(stage, name) for one in runs for stage in one.found.stages]
    return [abs(pair.ratio - 1) for pair in pairs]


def moves_as_priced(found: PlanRun) -> bool:
    """Whether bytes between ranks are those of the price."""
    pairs = (found.prefill_moved_bytes, found.decode_moved_bytes)
    return all(abs(pair.predicted - pair.measured) < 0.5 for pair in pairs)


def _errors_line(kind: str, runs: Sequence[Compared]) -> str:
    both = stage_errors(runs, "cpu_s")
    medians = [
        statistics.median(stage_errors(runs, name))
        for name in ("prefill_cpu_s", "decode_cpu_s", "cpu_s")
    ]
    within = statistics.mean(error <= 0.15 for error in both)
    cells = [f"{error:.1%}" for error in (*medians, float(np.quantile(both, 0.9)))]
    return f"| {kind} | {len(runs)} | {len(both)} | {' | '.join(cells)} | {within:.0%} |"


def picks(bench: Bench, runs: Sequence[KeptRun]) -> list[Pick]:
    """For each batch, the planner's pick beside the fastest of all plans of no more ranks than
    cores that ran for it, by the wall."""
    found = []
    repeats = repeats_of(runs)
    for pick in searches(bench):
        load = pick.batch_size, pick.prompt_tokens
        took = {}
        for alike in repeats:
            first = alike[0]
            same = (first.batch_size, first.prompt_tokens) == load
            if same and plan_of(first.shape).chips <= CORES:
                took[first.shape] = first, bench.least(alike).found.request_s.measured
        best, best_s = min(took.values(), key=lambda one: one[1])
        found.append(Pick(*took[pick.shape], best, best_s))
    return found


def picks_table(found: Sequence[Pick]) -> list[str]:
    """A line for each search."""
    lines = ["| batch × prompt | picked | s | fastest that ran | s | slower by |"]
    lines.append("|---|---|---|---|---|---|")
    for pick in found:
        load = f"{pick.kept.batch_size} × {pick.kept.prompt_tokens}"
        taken = f"{pick.kept.shape} | {pick.seconds_s:.3g}"
        best = f"{pick.best.shape} | {pick.best_s:.3g}"
        lines.append(f"| {load} | {taken} | {best} | {pick.slower:.1%} |")
    return lines


def wall_summary(bench: Bench, runs: Sequence[KeptRun]) -> list[str]:
    """How far times by the wall lie off, of plans that were held out with a core for each rank."""
    names = ("ttft_s", "tpot_s", "request_s")
    found: dict[str, list[dict[str, tuple[float, float]]]] = {}
    for alike in repeats_of(runs):
        shape = alike[0].shape
        if alike[0].sort != "fitted on" and plan_of(shape).chips <= CORES:
            times = time_pairs(bench.least(alike).found, by_wall=True)
            found.setdefault(kind_of(shape), []).append(times)
    found["all"] = [times for kind in found.values() for times in kind]
    lines = ["| plans | runs | first token | later tokens | whole request | within 15 % |"]
    lines.append("|---|---|---|---|---|---|")
    for kind, those in found.items():
        errors = {
            name: [abs(times[name][0] / times[name][1] - 1) for times in those] for name in names
        }
        medians = " | ".join(f"{statistics.median(errors[name]):.1%}" for name in names)
        within = statistics.mean(error <= 0.15 for error in errors["request_s"])
        lines.append(f"| {kind} | {len(those)} | {medians} | {within:.0%} |")
    return lines


def sureness(bench: Bench, runs: Sequence[KeptRun], *, by_wall: bool) -> list[str]:
    """Residuals of a score's times, and what was measured, as a stack's file has them: by the wall
    of plans with a core for each rank, or by CPU seconds put together."""
    fields, errors, settings = [], [], []
    for alike in repeats_of(runs):
        kept = alike[0]
        plan, asked = plan_of(kept.shape), bench.question(kept)
        if by_wall and plan.chips > CORES:
            continue
        settings.append(
            setting_of(plan, asked.graph, asked.topology, asked.workload, kept.batch_size)
        )
        if kept.sort == "fitted on":
            continue
        found = bench.least(alike) if by_wall else bench.compared(median_run(alike))
        for field, pair in time_pairs(found.found, by_wall).items():
            fields.append(field)
            errors.append(math.log(pair[0] / pair[1]))
    widths = residuals_of(fields, np.array(errors))
    rounded = [one.replace(half_width=float(f"{one.half_width:.3g}")) for one in widths]
    return intervals_toml(rounded, (), covers_of(settings))


def time_pairs(found: PlanRun, by_wall: bool) -> dict[str, tuple[float, float]]:
    """Times of a score, predicted and measured."""
    first = found.ttft_s if by_wall else found.idle_ttft_s
    whole = found.request_s if by_wall else found.idle_request_s
    rounds = OUTPUT_TOKENS - 1
    each = [
        (getattr(whole, one) - getattr(first, one)) / rounds for one in ("predicted", "measured")
    ]
    return {
        "ttft_s": (first.predicted, first.measured),
        "tpot_s": (each[0], each[1]),
        "request_s": (whole.predicted, whole.measured),
    }


def main(given: Sequence[str] | None = None) -> None:
    """Run what is missing and what is picked; print what came of it, and figures of a fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a config.json")
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--rows", type=Path, default=Path("running.csv"))
    parser.add_argument("--repeats", type=int, default=1, help="of plans with a core for each rank")
    parser.add_argument("--fit", action="store_true", help="print figures that suit better")
    asked = parser.parse_args(given)
    bench = Bench(asked.model, asked.machine, asked.rows)
    if "num_local_experts" in bench.config or "num_experts" in bench.config:
        bench.run(list(mixture_cases(bench)))
        print("\n".join(summary([bench.compared(one) for one in bench.known()])))
        return
    wanted = list(cases(bench))
    bench.run([one for one in wanted if plan_of(one.shape).chips <= CORES], asked.repeats)
    bench.run(wanted)
    if asked.fit:
        for machine in fitted(bench, [one for one in bench.known() if one.sort == "fitted on"]):
            print(figures_of(machine))
    bench.run(searches(bench), asked.repeats)
    runs = bench.known()
    held = [median_run(alike) for alike in repeats_of(runs) if alike[0].sort != "fitted on"]
    lines = summary([bench.compared(one) for one in held])
    lines += [*wall_summary(bench, runs), *picks_table(picks(bench, runs))]
    for by_wall in (True, False):
        lines += sureness(bench, runs, by_wall=by_wall)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
