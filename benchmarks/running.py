"""Plans carried out here beside their prices: `python -m benchmarks.running MODEL --machine here.toml`.

Three sorts of runs of one model, each once, with a line of JSON for each, so that a file that was
interrupted goes on: those that the stack's figures are fitted on, those that are held against the
prices, and what the planner picks in searches. The model should have at least 300 M parameters, so
that weights exceed caches, and the machine should be idle where times by the wall are to count.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planner import load_model, load_topology, partition
from planner.machines.topology import Topology
from planner.plan import ChipRange, Plan, Stage
from planner.running.comparing import PlanRun, Question, compared, job_for
from planner.running.jobs import RankReport
from planner.running.launching import Ranks
from planner.workload import Workload

OUTPUT_TOKENS = 6
FITTED_ON = ((2, 64), (6, 96), (12, 48))
"""Batch and prompt tokens."""
HELD_OUT = (
    (1, 32), (16, 64), (4, 128), (1, 512), (8, 32), (2, 256),
    (1, 128), (16, 32), (4, 32), (8, 128), (2, 64), (4, 64),
)  # fmt: skip
FITTED = (
    "kernel_overhead_s",
    "step_overhead_s",
    "compute_efficiency",
    "memory_efficiency",
    "attention_efficiency",
    "cache_efficiency",
    "hop_overhead_s",
)
PULL = 0.1
"""Of a figure's logarithm towards where it was, beside a stage's error."""


class Case(NamedTuple):
    """One plan and one batch."""

    sort: str
    """ "fitted on", "held out" or "picked"."""
    plan: Plan
    batch: int
    prompt: int

    @property
    def key(self) -> str:
        """By which a run is found again in a file."""
        return f"{self.batch} x {self.prompt}: {self.plan.to_json()}"


class Ran(NamedTuple):
    """A case and what its ranks told."""

    case: Case
    reports: tuple[RankReport, ...]


def stages_of(cuts: Sequence[int], tensor: int = 1, micro_batches: int = 1) -> Plan:
    """So many decoder layers on each stage; the embedding with the first, the head with the
    last."""
    layers = ["embedding", *(f"decoder.{number}" for number in range(sum(cuts))), "head"]
    stages = []
    for number, count in enumerate(cuts):
        taken = count + (number == 0) + (number == len(cuts) - 1)
        group = ChipRange(first=number * tensor, count=tensor)
        own = tuple(layers[:taken])
        layers = layers[taken:]
        stages.append(Stage(layers=own, groups=(group,), tensor_parallel=tensor))
    return Plan(stages=tuple(stages), micro_batches=micro_batches)


def cases(layers: int) -> Iterator[Case]:
    """What is run before anything is fitted."""
    third = layers // 3
    for batch, prompt in FITTED_ON:
        for plan in (
            stages_of((layers,)),
            stages_of((layers,), tensor=2),
            stages_of((third, third, layers - 2 * third), micro_batches=2),
        ):
            yield Case("fitted on", plan, batch, prompt)
    half, sixth = layers // 2, layers // 6
    quarter = layers // 4
    more = (
        ((quarter,) * 3 + (layers - 3 * quarter,), 4),
        ((layers - 2 * sixth, 2 * sixth), 2),
        ((sixth, half - sixth, half - sixth, layers - 2 * half + sixth), 1),
    )
    for number, (batch, prompt) in enumerate(HELD_OUT):
        cuts, micro_batches = more[number % len(more)]
        for plan in (
            stages_of((layers,)),
            stages_of((layers,), tensor=2),
            stages_of((half, layers - half), micro_batches=min(2, batch)),
            stages_of(cuts, micro_batches=min(micro_batches, batch)),
        ):
            yield Case("held out", plan, batch, prompt)


def workload_of(case: Case) -> Workload:
    """One batch that starts together."""
    return Workload(
        batch_size=case.batch,
        prompt_tokens=case.prompt,
        output_tokens=OUTPUT_TOKENS,
        arrivals="together",
    )


class Bench:
    """A model on this machine, and the file of its runs."""

    def __init__(self, model: Path, topology: Topology, rows: Path) -> None:
        self.config = json.loads(model.read_text())
        self.graph = load_model(str(model), weight_dtype="fp32", kv_dtype="fp32")
        self.topology = topology
        self.rows = rows

    def question(self, case: Case, topology: Topology | None = None) -> Question:
        """A case, on a machine whose stack may be another."""
        return Question(self.graph, self.config, topology or self.topology, workload_of(case))

    def known(self) -> list[Ran]:
        """Runs that the file has."""
        if not self.rows.exists():
            return []
        found = []
        for line in self.rows.read_text().splitlines():
            row = json.loads(line)
            plan = Plan.model_validate(row["plan"])
            case = Case(row["sort"], plan, row["batch"], row["prompt"])
            reports = tuple(RankReport.model_validate(one) for one in row["reports"])
            found.append(Ran(case, reports))
        return found

    def run(self, wanted: Sequence[Case]) -> None:
        """Each case that the file does not have."""
        done = {ran.case.key for ran in self.known()}
        with Ranks() as ranks, self.rows.open("a") as stream:
            for case in wanted:
                if case.key in done:
                    continue
                reports = ranks.run(job_for(case.plan, self.question(case)))
                done.add(case.key)
                told = [one.model_dump(exclude={"tokens", "logits"}) for one in reports]
                row: dict[str, Any] = case._asdict()
                row |= {"plan": case.plan.model_dump(mode="json"), "reports": told}
                stream.write(json.dumps(row) + "\n")
                stream.flush()


def fitted(bench: Bench, rows: Sequence[Ran]) -> Topology:
    """The machine with its stack's figures moved so that the logarithms of CPU seconds differ
    least: Gauss-Newton, damped, in logarithms."""
    start = np.log([_figures(bench.topology)[name] for name in _names()])
    most = np.array([np.inf if name.endswith("_s") else 0.0 for name in _names()])

    def errors(point: Any) -> Any:
        # What runs do not tell apart stays where it was.
        return np.append(_errors(bench, rows, point), PULL * (point - start))

    point, damping = start, 0.1
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
    return _with(bench.topology, point)


def _names() -> tuple[str, ...]:
    return (*FITTED, "base_latency_s", "bandwidth_fraction")


def _figures(topology: Topology) -> dict[str, float]:
    """What is fitted, as it stands."""
    software = topology.software
    kernel = software.collectives[0]
    found = {name: float(getattr(software, name)) for name in FITTED}
    return found | {
        "base_latency_s": kernel.base_latency_s,
        "bandwidth_fraction": kernel.bandwidth_fraction,
    }


def _with(topology: Topology, point: Any) -> Topology:
    """The machine with other figures."""
    values = dict(zip(_names(), np.exp(point).tolist(), strict=True))
    own = {name: values.pop(name) for name in FITTED}
    kernel = topology.software.collectives[0].replace(**values)
    return topology.replace(software=topology.software.replace(**own, collectives=(kernel,)))


def _errors(bench: Bench, rows: Sequence[Ran], point: Any) -> Any:
    """Of each phase of each stage."""
    topology = _with(bench.topology, point)
    errors = []
    for ran in rows:
        found = compared(ran.case.plan, bench.question(ran.case, topology), ran.reports)
        for stage in found.stages:
            for pair in (stage.prefill_cpu_s, stage.decode_cpu_s):
                errors.append(np.log(pair.predicted / pair.measured))
    return np.array(errors)


def alone_s(found: PlanRun, case: Case, prompt_passes: int) -> float:
    """What a batch would take by the wall if nothing but its ranks ran, each on a core of its own:
    their CPU seconds, put together as passes are. [s]"""
    prompts = [stage.prefill_cpu_s.measured / prompt_passes for stage in found.stages]
    first_s = sum(prompts) + (prompt_passes - 1) * max(prompts)
    parts = min(case.plan.micro_batches, case.batch // case.plan.replicas)
    passes = parts * (OUTPUT_TOKENS - 1)
    later = [stage.decode_cpu_s.measured / passes for stage in found.stages]
    return first_s + (OUTPUT_TOKENS - 1) * max(sum(later), parts * max(later))


def searches(bench: Bench, topology: Topology) -> list[Case]:
    """What the planner picks on two cores, for each batch that is held out."""
    two = topology.replace(chips=2)
    picked = []
    for batch, prompt in HELD_OUT:
        case = Case("picked", stages_of((1,)), batch, prompt)
        result = partition(
            bench.graph, two, workload_of(case), minimize="request_s", time_limit_s=20
        )
        picked.append(case._replace(plan=result.plan))
    return picked


def table(bench: Bench, topology: Topology, rows: Sequence[Ran]) -> list[str]:
    """Predicted beside measured, a line for each stage, and how far apart they lie."""
    lines = ["| plan | batch × prompt | stage | prompts s | later s | held MB | moved MB |"]
    lines.append("|---|---|---|---|---|---|---|")
    errors: dict[str, list[float]] = {"prefill_cpu_s": [], "decode_cpu_s": [], "cpu_s": []}
    held, exact = [], 0
    for ran in rows:
        found = compared(ran.case.plan, bench.question(ran.case, topology), ran.reports)
        pairs = (found.prefill_moved_bytes, found.decode_moved_bytes)
        exact += all(abs(pair.predicted - pair.measured) < 0.5 for pair in pairs)
        moved = [(pairs[0].predicted + pairs[1].predicted), (pairs[0].measured + pairs[1].measured)]
        for stage in found.stages:
            for name, found_so_far in errors.items():
                pair = getattr(stage, name)
                found_so_far.append(abs(pair.predicted / pair.measured - 1))
            held.append(abs(stage.held_bytes.predicted / stage.held_bytes.measured - 1))
            cells = [
                named(ran.case.plan),
                f"{ran.case.batch} × {ran.case.prompt}",
                str(stage.stage),
                _beside(stage.prefill_cpu_s.predicted, stage.prefill_cpu_s.measured, 1),
                _beside(stage.decode_cpu_s.predicted, stage.decode_cpu_s.measured, 1),
                _beside(stage.held_bytes.predicted, stage.held_bytes.measured, 1e6),
                _beside(*moved, 1e6),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    both = errors["cpu_s"]
    within = statistics.mean(error <= 0.15 for error in both)
    prompts, later = (statistics.median(errors[name]) for name in list(errors)[:2])
    lines += [
        "",
        f"{len(rows)} plans, {len(both)} stages: CPU seconds differ by {statistics.median(both):.1%}"
        f" at the median ({prompts:.1%} of prompts, {later:.1%} of later tokens),"
        f" {np.quantile(both, 0.9):.1%} at nine of ten, {within:.0%} within 15 %; memory by"
        f" {max(held):.2%} at most; bytes between ranks are equal in {exact} of {len(rows)} plans.",
    ]
    return lines


def named(plan: Plan) -> str:
    """TP 2, PP 12+12, two micro-batches."""
    cuts = "+".join(
        str(sum(name.startswith("decoder") for name in stage.layers)) for stage in plan.stages
    )
    tensor = "/".join(dict.fromkeys(str(stage.tensor_parallel) for stage in plan.stages))
    copies = f"{plan.replicas} × " if plan.replicas > 1 else ""
    micro = f", {plan.micro_batches} micro-batches" if plan.micro_batches > 1 else ""
    return f"{copies}TP {tensor}, {cuts}{micro}"


def _beside(foretold: float, found: float, scale: float) -> str:
    return f"{foretold / scale:.3g} / {found / scale:.3g}"


def picks(bench: Bench, topology: Topology, rows: Sequence[Ran]) -> list[str]:
    """For each batch, the planner's pick beside the best of all plans of at most two ranks."""
    lines = ["| batch × prompt | picked | s | best that ran | s | slower by |"]
    lines.append("|---|---|---|---|---|---|")
    for pick in searches(bench, topology):
        ran = {}
        for one in rows:
            same = (one.case.batch, one.case.prompt) == (pick.batch, pick.prompt)
            if same and one.case.plan.chips <= 2:
                asked = bench.question(one.case, topology)
                passes = job_for(one.case.plan, asked).prompt_passes
                found = compared(one.case.plan, asked, one.reports)
                plan = one.case.plan.replace(space="any")
                ran[plan.to_json()] = (alone_s(found, one.case, passes), named(plan))
        own = ran.get(pick.plan.replace(space="any").to_json())
        best = min(ran.values())
        if own is None:
            lines.append(f"| {pick.batch} × {pick.prompt} | {named(pick.plan)}: not run | | | | |")
            continue
        cells = (own[1], f"{own[0]:.3g}", best[1], f"{best[0]:.3g}", f"{own[0] / best[0] - 1:.1%}")
        lines.append(f"| {pick.batch} × {pick.prompt} | {' | '.join(cells)} |")
    return lines


def main(given: Sequence[str] | None = None) -> None:
    """Run what is missing; then fit, search, run what was picked, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a config.json")
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--rows", type=Path, default=Path("running.jsonl"))
    parser.add_argument("--fit", action="store_true", help="fit the stack's figures first")
    asked = parser.parse_args(given)
    bench = Bench(asked.model, load_topology(asked.machine), asked.rows)
    bench.run(list(cases(bench.config["num_hidden_layers"])))
    topology = bench.topology
    if asked.fit:
        topology = fitted(bench, [one for one in bench.known() if one.case.sort == "fitted on"])
        print(_figures(topology))
    bench.run(searches(bench, topology))
    rows = bench.known()
    print("\n".join(table(bench, topology, [one for one in rows if one.case.sort == "held out"])))
    print("\n".join(picks(bench, topology, rows)))


if __name__ == "__main__":
    main()
