"""What a tool measured, in no tool's words: runs against an engine, and collectives by themselves."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from planner.machines.software import CollectiveKind
from planner.readers.run_file import Clock
from planner.records import Record
from planner.units import Bytes, Count, Degree, Seconds

Load = Literal["clients", "rate", "together", "unknown"]
"""A number of clients that each wait for an answer; requests at a rate; all at once; not said."""
Rate = Annotated[float, Field(gt=0, le=1e9)]
MostTokens = Annotated[float, Field(gt=0, le=1e8)]
Name = Annotated[str, Field(max_length=1000)]


class Spread(Record):
    """A time, over the requests of a run; None: not said."""

    mean_s: Seconds | None = None
    p50_s: Seconds | None = None
    p90_s: Seconds | None = None
    p95_s: Seconds | None = None
    p99_s: Seconds | None = None

    @property
    def middle_s(self) -> float | None:
        """The mean; the median where no mean is said; None of a time that was not measured."""
        found = self.p50_s if self.mean_s is None else self.mean_s
        return found or None


class Benchmark(Record):
    """One run against one engine."""

    tool: str
    version: Name = ""
    """Of the tool."""
    date: Name = ""
    """As the tool writes it."""
    model: Name = ""
    """As the engine was asked for it."""
    engine: Name = ""
    load: Load = "unknown"
    clients: Count | None = None
    """That wait for their answers, at most so many in flight."""
    rate_per_s: Rate | None = None
    """Of requests, as asked for."""
    requests: Count | None = None
    """That were answered."""
    prompt_tokens: MostTokens | None = None
    """Of a request, on average; so below."""
    output_tokens: MostTokens | None = None
    ttft: Spread = Spread()
    tpot: Spread = Spread()
    """Of each request from its first token to its last, by the tokens after the first."""
    itl: Spread = Spread()
    """Between one piece of an answer and the next: longer than TPOT where a piece has several
    tokens."""
    e2e: Spread = Spread()
    """From a request to its last token."""
    requests_per_s: Rate | None = None
    """Answered."""
    tokens_per_s: Rate | None = None
    """Output tokens of all requests."""
    mean_sequences: Annotated[float, Field(gt=0, le=1e7)] | None = None
    """In flight, as the tool counted."""
    tensor_parallel: Degree | None = None
    """Of the engine, where the tool asked it; so below."""
    pipeline_parallel: Degree | None = None
    expert_parallel: Degree | None = None
    data_parallel: Degree | None = None
    weight_format: Name = ""
    """As the catalogue calls dtypes."""
    cache_format: Name = ""
    clock: Clock = "wall"
    """Of the times."""
    chips: Count | None = None
    """That ran."""
    is_whole: bool = False
    """Whether the file holds the model, the machine and the plan, and is read as each of them."""

    @property
    def in_flight(self) -> float | None:
        """Sequences on average: as counted, else by Little's law."""
        if self.mean_sequences is not None:
            return self.mean_sequences
        whole_s = self.e2e.middle_s
        if whole_s is None or self.requests_per_s is None:
            return None
        return whole_s * self.requests_per_s


class TimedCollective(Record):
    """One size of one collective."""

    tool: str
    version: Name = ""
    chip: Name = ""
    """As the driver calls it."""
    kind: CollectiveKind
    ranks: Annotated[int, Field(ge=2, le=1_000_000)]
    ranks_per_node: Count
    message_bytes: Bytes
    """As in `cost.collectives`."""
    time_s: Annotated[float, Field(gt=0, le=1e7)]


class Measured(NamedTuple):
    """All that a file holds."""

    benchmarks: tuple[Benchmark, ...] = ()
    collectives: tuple[TimedCollective, ...] = ()
    remarks: tuple[str, ...] = ()
    """What of it was left out, and why."""
