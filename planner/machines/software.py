"""What software makes of chips: launches, efficiencies, collectives, limits; how far its figures
may be off."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.machines.engine import Engine
from planner.models.dtypes import Dtype
from planner.records import Record
from planner.units import Bytes, Count, Fraction, Seconds

CollectiveKind = Literal[
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
    "send_recv",
    "dispatch",
    "combine",
]
"""A dispatch sends each token to the ranks that hold any of its experts; a combine sends what these
make of it back, and adds it up. Where a stack has no kernel for them, it uses an all-to-all."""

Algorithm = Literal["ring", "tree", "one-shot", "two-shot", "in-switch"]


class CollectiveKernel(Record):
    """One way in which a software stack moves data among chips."""

    algorithm: Algorithm
    kinds: tuple[CollectiveKind, ...]
    base_latency_s: Seconds
    """Software, launch and synchronisation: all that does not depend on the number of steps or
    bytes."""
    step_latency_s: Seconds = 0.0
    """Software's share of each step in the innermost level, beside the fabric's hop."""
    across_base_latency_s: Seconds = 0.0
    """Once more where a collective leaves the innermost level: in a CUDA graph NCCL has the host
    called back, which hands the message to the thread that drives the network card."""
    across_step_latency_s: Seconds = 0.0
    """The same beyond the innermost level, where a network card takes part."""
    bandwidth_fraction: Fraction = 1.0
    """Share of the link that a long message reaches."""
    across_bandwidth_fraction: Fraction | None = None
    """The same beyond the innermost level; None: as inside."""
    most_ranks: Count = 10_000_000
    across_nodes: bool = True
    """Whether it works beyond the innermost level."""
    meets: bool = False
    """Whether its ranks meet first, as NCCL's do (`Chip.meeting_latency_s`)."""
    least_units: Count = 1
    """Of the innermost level: kernels for NVLink over several nodes are used where there are more
    chips than in one."""


class Tuning(Record):
    """How well a software stack's kernels suit one architecture, beside its efficiencies
    elsewhere."""

    architecture: str
    compute_efficiency: Fraction = 1.0
    memory_efficiency: Fraction = 1.0
    cache_efficiency: Fraction = 1.0
    widening_flop_per_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Operations for each weight, once in a pass, where weights are stored in fewer bits than
    they are multiplied in."""


class NativeFormat(Record):
    """What a software stack's kernels multiply weights of a 4-bit float in, where nobody says
    what the activations are in."""

    dtype: Dtype
    """Of the weights."""
    multiplied_in: Dtype
    architectures: tuple[str, ...] = ()
    """Of chips; none: all."""
    kinds: tuple[Literal["matmul", "experts"], ...] = ()
    """Of operators; none: both."""
    source: str = ""
    confidence: str = ""
    note: str = ""


class Residual(Record):
    """How far predictions of one field of `Score` lie from measurements."""

    field: str
    half_width: Annotated[float, Field(ge=0, le=10)]
    """|ln(predicted / measured)| within which four of five rows stay that were left out of the
    fit."""
    like: str = ""
    """Of which rows: of one way of serving ("served"), or of that on one architecture ("served
    hopper"); empty: of all."""


class Widening(Record):
    """How much less sure a prediction is where no row of the stack has something."""

    reason: str
    """A key of `scoring.vouching`, "chip" or "far load"."""
    half_width: Annotated[float, Field(ge=0, le=10)]
    """That adds to the residual's in squares: of rows left out for that reason, four of five stay
    within both."""


Range = tuple[float, float]
"""Least and most."""


class Covered(Record):
    """What the measured rows of a stack have in one phase, beyond which nothing vouches for a
    prediction."""

    phase: Literal["both", "prefill", "decode"] = "both"
    makers: tuple[str, ...]
    """First words of the names of chips."""
    architectures: tuple[str, ...]
    chips: tuple[str, ...]
    dense: Range | None = None
    """Parameters of its decoders, None where it has none; so of other kinds of models."""
    experts: Range | None = None
    encoder: Range | None = None
    diffusion: Range | None = None
    weight_dtypes: tuple[Dtype, ...]
    most_tensor_parallel: Count = 1
    most_expert_parallel: Count = 1
    most_stages: Count = 1
    """Of a plan that serves requests as they come."""
    across_nodes: bool = False
    """Whether any of their layers are split over more than one node."""
    drafts: bool = False
    sequences: Range
    """In flight in a replica."""
    context_tokens: Range
    """Prompt and output."""


class Software(Record):
    """What runs the model: its overheads, its efficiencies, its collectives, what it keeps for
    itself."""

    name: str
    kernel_overhead_s: Seconds
    """For each operator launched, on top of the roofline."""
    matmul_overhead_s: Seconds | None = None
    """For each matmul in 16 bit or more instead; None: as for every operator. So below."""
    quantised_overhead_s: Seconds | None = None
    """For each matmul in 8 bit or less, which quantises what comes in."""
    attention_overhead_s: Seconds | None = None
    experts_overhead_s: Seconds | None = None
    """For each layer's experts: routing, sorting, their matmuls, adding up."""
    draft_overhead_s: Seconds = 0.0
    """For each pass of a draft model beside a decode step: the drafted token is sampled, and what
    the next pass needs is made of it."""
    layer_overhead_s: Seconds = 0.0
    """A token's wait in each layer, whatever its size, on machines that are bound by latency:
    synchronisation and mapping."""
    layer_crossing_s: Seconds = 0.0
    """The same for a layer as large as a chip, where its messages cross the region of the chip that
    holds it: it goes with the side of that region, the root of the share of the chip."""
    layer_occupancy: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Of both, the share in which the layer keeps its chips from working for others; in the rest
    messages are under way, and tokens of other users take their turn."""
    step_overhead_s: Seconds = 0.0
    """For each pass through the model: scheduling and sampling."""
    sequence_overhead_s: Seconds = 0.0
    """For each sequence of a decode pass, on the host: sampling, detokenising, bookkeeping."""
    request_overhead_s: Seconds = 0.0
    """For each request that joins a loaded server, before its first token: transport,
    tokenising, scheduling."""
    burst_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of the prompts of all other sequences in flight, those that stand before a new one in the
    queue, on average: clients start together, and prompts come in bursts."""
    handover_rounds: Annotated[float, Field(ge=0, le=64)] = 0.0
    """Rounds of decode passes between a request's turn and its first token, beside its prompt:
    the next pass is planned while one runs, and what it makes is handed out while others do."""
    interruption_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Of the time that others' prompts take, what decode steps lose: less than all where both
    share a pass."""
    compute_efficiency: Fraction
    """Share of the peak that large matmuls in 16 bit or more reach."""
    quantised_efficiency: Fraction | None = None
    """The same in 8 bit; None: as in 16. So below."""
    narrow_efficiency: Fraction | None = None
    """The same in 4 bit."""
    attention_efficiency: Fraction | None = None
    experts_efficiency: Fraction | None = None
    """Share of what a matmul would reach that unevenly filled experts reach."""
    widened_efficiency: Fraction | None = None
    """Share of what a matmul would reach that one reaches whose weights are stored in fewer bits
    than they are multiplied in, and widened on their way; None: all of it."""
    experts_tile_tokens: Annotated[float, Field(ge=0, le=4096)] = 0.0
    """Of the tiles in which kernels multiply the tokens of an expert; 0: of one."""
    skipping_efficiency: Fraction | None = None
    """Share of what a dense matmul would reach that one reaches whose kernels skip zeros that lie
    anywhere; None: all of it."""
    memory_efficiency: Fraction
    """Share of the memory bandwidth that long reads reach."""
    cache_efficiency: Fraction = 1.0
    """Share of what long reads reach that attention reaches when it reads the caches."""
    unfused_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Of the memory traffic of norms, activations and other pointwise operators, what is not
    fused into their neighbours."""
    residuals: tuple[Residual, ...] = ()
    """Of what was measured on this stack; a field that is not there was never measured."""
    widenings: tuple[Widening, ...] = ()
    covers: tuple[Covered, ...] = ()
    """What was measured, one entry a phase; none: nobody says."""
    tunings: tuple[Tuning, ...] = ()
    """Architectures that its kernels suit less."""
    natives: tuple[NativeFormat, ...] = ()
    """Formats that it multiplies otherwise than the chip could."""
    launches_ahead: bool = False
    """Whether the host of a diffusion model launches a step's operators and collectives while the
    chip still works on earlier ones, so that a step takes as long as the slower of the two."""
    exchanges_apart: bool = False
    """Whether queries, keys, values and outputs each change hands in a collective of their own
    where chips share out a sequence; else all together."""
    stores_kept_in: Dtype | None = None
    """What it stores those matmuls in that a 4-bit checkpoint keeps in 16 bit; None: as they are."""
    widens_in_memory: tuple[str, ...] = ()
    """Architectures on which weights that are stored in fewer bits than they are multiplied in are
    written to memory as wide as that before a prompt's matmul, and read from there."""
    collectives: tuple[CollectiveKernel, ...] = ()
    collective_overhead_s: Seconds = 0.0
    """What launching a collective from the host takes: none is shorter."""
    quantised_dispatch: bool = False
    """Whether tokens go to their experts in the format that these multiply in; else at 16 bit."""
    dispatched_wide: tuple[Dtype, ...] = ()
    """Formats to which tokens are quantised only where their experts are, all the same."""
    balances_prompts: bool = False
    """Whether ranks that share out the sequences hold prompts back until each has one, and run
    them side by side."""
    hidden_exchange_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the time that tokens take to their experts and back, what the work of the other half of
    the batch hides."""
    hop_overhead_s: Seconds = 0.0
    """For each transfer from stage to stage, on top of the fabric."""
    prefill_chunk_tokens: Count
    """The most prompt tokens that one pass takes."""
    packs_prompts: bool = False
    """Whether one pass takes several short prompts, up to that many tokens."""
    kv_block_tokens: Count = 1
    """Tokens of a sequence that the KV cache allots at once: the last block of each is half
    empty on average."""
    reserved_bytes: Bytes = 0.0
    """Kept on every chip: context and code, where the next is stated; else all of both."""
    group_reserved_bytes: Bytes = 0.0
    """Kept besides on every chip of a stage that several share: buffers of their collectives."""
    live_streams: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Copies of a pass's whole residual stream that live beside what its widest operator reads
    and writes; each chip has them all, however a stage is split over tensor ranks."""
    sampling_streams: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Of those copies, the ones that still live on the last stage when a pass samples."""
    logit_bytes: Bytes = 0.0
    """For each value of the logits that a pass samples from, on every chip of the last stage: in
    the model's format, in 32 bits, and what sampling sorts; 0: not known, and left out."""
    usable_memory_fraction: Fraction
    """Share of the memory that a plan may fill."""
    reserved_output_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of the output tokens that a sequence has yet to make, those that room in the cache is kept
    for from its start, so that none is ever put out: 0 where blocks are allotted as they fill."""
    most_sequences: Count = 4096
    """In flight in one process of its engine: on each of the ranks that share out the sequences
    of a replica."""
    pads_heads: bool = False
    """Whether it splits heads that do not divide by the degree, adding empty ones."""
    leaves_chips_without_heads: bool = False
    """Whether a tensor group may have more chips than a model has heads, and some of them none but
    empty ones: what else they hold is worth it where the feed-forward part is large."""
    shares_out_caches: bool = False
    """Whether tensor ranks that outnumber the key-value heads share out the sequences' caches, so
    that each keeps some of them whole, where it would else have a copy of all; queries go to
    where their cache is, and come back."""
    attends_in_cache_dtype: tuple[str, ...] = ()
    """Architectures on which its attention multiplies in 8 bit in decode where the cache is kept
    in 8 bit."""
    most_tensor_parallel: Count = 1_000_000
    """1: layers are never split over chips."""
    embedding_on_host: bool = False
    """Whether the table of token embeddings stays in the memory of the host, where the machine has
    one: a head that is tied to it is then a copy on its chip."""
    engine: Engine = Engine()
    """Which plans it can be started with."""

    @property
    def allots_whole_caches(self) -> bool:
        """Whether a sequence's cache is there whole from its start, in blocks that are rounded up
        once."""
        return self.reserved_output_share == 1.0

    @property
    def waits_in_layers(self) -> bool:
        """Whether tokens wait in layers beside work and messages."""
        return max(self.layer_overhead_s, self.layer_crossing_s) > 0

    @model_validator(mode="after")
    def check_shares(self) -> Self:
        if self.burst_share + self.interruption_share > 1 + 1e-9:
            raise InputError(
                f"Software.burst_share and interruption_share of {self.name!r} must be at most 1"
                " together: others' prompts stand before a request's first token or come after it"
            )
        return self
