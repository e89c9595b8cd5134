"""`Served`: a model on a machine under a workload, and what every plan of it needs to know."""

from functools import cached_property

from planner.errors import InputError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.drafts import serving_prices
from planner.pricing.price_list import Holdings, PriceList, Split, usable_bytes_of
from planner.pricing.schedule import Schedule, scheduled
from planner.workload import Workload


def settled(workload: Workload, plan: Plan) -> Workload:
    """The workload at the rate that a plan states, where it leaves that open."""
    if not workload.is_open_stream or plan.requests_per_s is None:
        return workload
    return workload.replace(requests_per_s=plan.requests_per_s)


class Served:
    """What solver, check, ledger and score need of a graph, a topology and a workload: made once,
    and handed on.

    Plans of one question share most of their passes and splits, so price list, schedules and
    holdings are kept here, as long as the question is.
    """

    def __init__(self, graph: ModelGraph, topology: Topology, workload: Workload) -> None:
        if workload.is_open_stream:
            raise InputError(
                "Workload.requests_per_s is missing: arrivals 'poisson' needs a rate; give one, or"
                " let partition() find the greatest"
            )
        self.graph = graph
        self.topology = topology
        self.workload = workload
        self.software = topology.software
        self.usable_bytes = usable_bytes_of(topology)
        """What a plan may fill of one chip's memory."""
        self._schedules: dict[tuple[int, int], Schedule] = {}
        self._holdings: dict[Split, Holdings] = {}
        self._activations: dict[tuple[Split, float], float] = {}

    def under(self, workload: Workload) -> "Served":
        """The same at another rate of requests, which no price depends on."""
        other = Served(self.graph, self.topology, workload)
        other.__dict__["prices"] = self.prices
        other._holdings = self._holdings
        other._activations = self._activations
        return other

    @cached_property
    def prices(self) -> PriceList:
        """An InputError where the workload's tokens cannot be drafted."""
        return serving_prices(self.graph, self.topology, self.workload)

    def schedule(self, batch_size: int, replicas: int = 1, micro_batches: int = 1) -> Schedule:
        """The passes of the busiest of so many replicas."""
        sequences = -(-batch_size // replicas)
        key = sequences, micro_batches
        at = self._schedules.get(key)
        if at is None:
            at = scheduled(
                self.workload,
                self.software,
                batch_size=sequences,
                replicas=1,
                micro_batches=micro_batches,
                graph=self.graph,
            )
            self._schedules[key] = at
        return at

    def holdings(self, split: Split) -> Holdings:
        """What one chip of a group under a split holds, with the buffers of the smallest step."""
        held = self._holdings.get(split)
        if held is None:
            held = self.prices.holdings(split, self.workload, 1.0)
            self._holdings[split] = held
        return held

    def activation_bytes(self, split: Split, at: Schedule) -> float:
        """What is held on every stage while the largest layer of the graph runs. [B]"""
        tokens = self._largest_tokens(at)
        key = split, tokens
        if key not in self._activations:
            held = self.prices.activation_bytes(split, self.workload, tokens)
            self._activations[key] = float(held[0])
        return self._activations[key]

    def logits_bytes(self, split: Split, at: Schedule) -> float:
        """What the last stage needs beyond that to sample. [B]"""
        tokens = self._largest_tokens(at)
        rows = at.decode.rows
        return float(self.prices.logits_bytes(split, self.workload, tokens, rows)[0])

    def buffer_bytes(self, split: Split, at: Schedule) -> float:
        """What a chip of any stage holds besides weights and caches. [B]"""
        return self.activation_bytes(split, at) + self.prices.workspace_bytes(split)

    def _largest_tokens(self, at: Schedule) -> float:
        # Guidance can run pass by pass, so that buffers need room for one of them alone.
        return at.most_tokens / self.graph.passes_per_step
