"""What no plan can beat: memory that must hold the weights, and the roofline of a whole machine
without any loss.

A pass reads every weight that it needs at least once and makes one token for each sequence (no
speculative decoding); its bytes and its operations are shared out evenly over all chips, at the
data sheet's bandwidth and peak [1].

[1] S. Williams, A. Waterman, D. Patterson, "Roofline", Communications of the ACM 52(4), 2009.
"""

import math
from typing import NamedTuple

from planner.cost.memory import fewest_chips
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.price_list import Step, useful_work

MOST_BATCH = 2**20


class Pass(NamedTuple):
    """The least time of one decode pass on a machine, by cause. [s]"""

    memory_s: float
    compute_s: float

    @property
    def seconds(self) -> float:
        return max(self.memory_s, self.compute_s)


class Roof(NamedTuple):
    """A model on so many chips of a machine, at a context."""

    graph: ModelGraph
    topology: Topology
    chips: int
    context_tokens: float

    @property
    def fewest_chips(self) -> int:
        """That hold the weights, and nothing else."""
        capacity_bytes = self.topology.chip.memory[0].capacity_bytes
        return int(fewest_chips(self.graph.weight_bytes, capacity_bytes))

    @property
    def most_sequences(self) -> int:
        """Whose caches fit beside the weights."""
        graph = self.graph
        free = self.chips * self.topology.chip.memory[0].capacity_bytes - graph.weight_bytes
        each = graph.kv_bytes_per_token * self.context_tokens + graph.state_bytes_per_sequence
        return min(MOST_BATCH, math.floor(free / each)) if each else MOST_BATCH

    def decode(self, batch_size: int) -> Pass:
        """The least that a pass of so many sequences takes."""
        return self._pass(Step(batch_size, batch_size, self.context_tokens, True))

    def most_tokens_per_s(self, batch_size: int) -> float:
        """Of all users."""
        return batch_size / self.decode(batch_size).seconds

    def sample_step(self) -> Pass:
        """The least that one denoising step of one sample takes, of a diffusion model."""
        tokens = self.graph.tokens_per_sample
        return self._pass(Step(tokens, 1, tokens, False))

    def _pass(self, step: Step) -> Pass:
        """The work that no plan can do without, shared out evenly over all chips."""
        chip = self.topology.chip
        flop, moved = useful_work(self.graph, step)
        return Pass(
            moved / (self.chips * chip.memory[0].bandwidth_bytes_per_s),
            flop / (self.chips * peak_flop_per_s(self.graph, self.topology)),
        )
