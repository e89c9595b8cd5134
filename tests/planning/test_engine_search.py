"""The search over the engine's plans claims no more than it proved, wherever it stops; and of plans
that are as good it takes the one that a person would."""

import contextlib
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import NOT_IN_PHASE, question_of
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.planning.engine_search import EngineSearch, FreeSearch, search_of
from planner.planning.search import Progress, Search
from planner.space.candidates import Candidates
from planner.space.engine_space import Span
from planner.space.forms import forms_of
from tests.by_hand import chain, layer, matmul, round_machine
from tests.clock import ticking
from tests.instances import (
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import some
from tests.questions import (
    MAXIMIZED,
    MINIMIZED,
    found_in,
    random_machine,
    random_model,
    random_objective,
    random_request,
    random_space,
    space_of,
    value_of,
)

OPEN = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)
FREE_LINKS = fabric("switch", 8, latency_s=0.0, bandwidth_bytes_per_s=1e19)

LIMITS = {"ttft_s": 2e-3}


def machine(chips=4, *fabrics, software=None, **changes):
    numbers = {"hop_overhead_s": 0.0, **(software or {})}
    stack = tiny_software(**{"engine": tiny_engine(), **numbers})
    return tiny_topology(chips, *(fabrics or (fabric("switch", 8),)), software=stack, **changes)


def candidates(field="tokens_per_s", graph=None, topology=None, work=OPEN, limits=None, most=True):
    asked = question_of(
        None if most else field, field if most else None, limits, None, space="engine"
    )
    return Candidates(graph or tiny_graph(4), topology or machine(), work, asked)


def hard(**options):
    """A search of many steps: memory has room for hundreds of requests."""
    graph = tiny_graph(8)
    topology = machine(software={"most_sequences": 4096}, chip=tiny_chip(1.3 * graph.weight_bytes))
    asked = candidates("usd_per_million_tokens", graph, topology, limits=LIMITS, most=False)
    return EngineSearch(asked, **options)


@pytest.fixture(scope="module")
def whole():
    search = hard()
    search.run()
    assert search.stopped_by == "proof"
    assert search.done > 5
    return search


# ── What is claimed ──────────────────────────────────────────────────────────────────────────────


def test_a_whole_search_proves_its_plan(whole):
    assert whole.bound == pytest.approx(whole.best.value, rel=1e-9)
    plan = whole.best.plan
    asked = whole.candidates
    assert plan.space == "engine"
    assert pl.check_plan(plan, asked.graph, asked.topology, asked.workload) == ()
    score = pl.score_plan(plan, asked.graph, asked.topology, asked.workload)
    assert score.usd_per_million_tokens == pytest.approx(whole.best.value, rel=1e-9)
    assert score.ttft_s <= LIMITS["ttft_s"]


@pytest.mark.slow
def test_progress_comes_closer_from_both_sides():
    seen: list[Progress] = []
    hard(progress=seen.append).run()
    best = [report.objective for report in seen if report.objective is not None]
    bounds = [report.bound for report in seen if report.bound is not None]
    assert len(seen) > 5
    # Dollars: the best falls, and what is proved of all grows.
    assert best == sorted(best, reverse=True)
    assert bounds == sorted(bounds)
    assert bounds[-1] <= best[-1] * (1 + 1e-9)
    assert [report.boxes_done for report in seen] == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("after", [1, 2, 4])
def test_ctrl_c_leaves_the_best_plan_so_far_and_a_bound_that_holds(whole, after):
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == after:
            raise KeyboardInterrupt

    stopped = hard(progress=stop)
    stopped.run()
    assert (stopped.interrupted, stopped.stopped_by) == (True, "interrupt")
    assert 0 < stopped.bound <= whole.best.value * (1 + 1e-9)
    assert stopped.best.value >= whole.best.value * (1 - 1e-9)


@pytest.mark.parametrize(("name", "after"), [("_offer", 1), ("_push", 1), ("_push", 3)])
def test_ctrl_c_while_a_box_is_taken_apart_claims_nothing_of_it(whole, name, after):
    search = hard()
    done = []
    method = getattr(search, name)

    def pressed(*args):
        # Boxes that are there from the start are pushed before the search begins.
        if search.spread:
            done.append(args)
        if len(done) == after:
            raise KeyboardInterrupt
        method(*args)

    setattr(search, name, pressed)
    search.run()
    assert search.interrupted
    assert search.bound <= whole.best.value * (1 + 1e-9)


def test_ctrl_c_before_all_boxes_are_there_proves_nothing():
    search = hard()

    def pressed(*args):
        raise KeyboardInterrupt

    search._push = pressed
    search.run()
    assert (search.interrupted, search.bound) == (True, 0.0)
    assert search.best.plan is not None  # one of the first that come to mind


@pytest.mark.parametrize("ticks", [60, 150, 400])
def test_the_end_of_time_leaves_a_bound_that_holds(whole, ticks):
    with ticking(1.0):
        search = hard(time_limit_s=float(ticks))
        search.run()
    assert search.stopped_by == "time"
    assert 0 < search.bound < whole.best.value * (1 - 1e-9)
    assert search.best.value >= whole.best.value * (1 - 1e-9)


def offers_of(asked):
    """A search that was run, and the values of the plans that it found, in turn."""
    search = EngineSearch(asked)
    offered = []
    offer = search._offer

    def noted(found):
        offered.append(found.value)
        offer(found)

    search._offer = noted
    search.run()
    return search, offered


@pytest.mark.slow
def test_what_is_enough_ends_the_search():
    # A question of which the first plan found is not the best.
    for seed in itertools.count(70):
        asked = random_space(random.Random(seed)).candidates
        best, offered = offers_of(asked)
        if offered and offered[0] > 1.001 * best.best.value:
            break

    search = EngineSearch(asked, enough=offered[0])
    search.run()
    assert search.best.value == offered[0]
    assert search.done < best.done
    assert search.bound <= best.best.value * (1 + 1e-9)


def test_what_is_hopeless_is_not_found_and_that_is_proved(whole):
    search = hard(hopeless=0.9 * whole.best.value)
    search.run()
    assert search.best.plan is None
    assert search.stopped_by == "proof"
    assert search.bound == pytest.approx(0.9 * whole.best.value)
    assert hard(hopeless=1.1 * whole.best.value).goal == 1.1 * whole.best.value


def test_no_plan_at_all_is_proved():
    search = EngineSearch(candidates(topology=machine(chip=tiny_chip(1e6))))
    search.run()
    assert (search.best.plan, search.bound, search.stopped_by) == (None, math.inf, "proof")


# ── Which of those that are as good ──────────────────────────────────────────────────────────────


def tensor_machine(gain):
    """Two chips whose all-reduce takes so long that both together make a token a share `gain`
    sooner than one alone."""
    graph = tiny_graph(3)
    work = pl.Workload(batch_size=1, prompt_tokens=90, output_tokens=20)

    def made(latency_s):
        known = tiny_software().collectives
        kernels = tuple(one.replace(base_latency_s=latency_s) for one in known)
        return machine(2, FREE_LINKS, software={"collectives": kernels})

    def tpot_s(latency_s, tensor):
        topology = made(latency_s)
        plan = pl.uniform_plan(graph, topology, tensor_parallel=tensor)
        return pl.score_plan(plan, graph, topology, work).tpot_s

    # In the latency it is a straight line.
    wanted = tpot_s(0.0, 1) * (1 - gain)
    one, two = tpot_s(1e-5, 2), tpot_s(2e-5, 2)
    latency_s = 1e-5 + 1e-5 * (wanted - one) / (two - one)
    assert tpot_s(latency_s, 2) == pytest.approx(wanted, rel=1e-9)
    return graph, made(latency_s), work


@pytest.mark.parametrize(("gain", "chips"), [(5e-4, 1), (2e-3, 2), (-1e-4, 1)])
def test_fewer_chips_are_taken_where_they_are_as_fast(gain, chips):
    graph, topology, work = tensor_machine(gain)
    found = pl.partition(graph, topology, work, minimize="tpot_s")
    assert (found.score.chips, found.status) == (chips, "optimal")
    single, both = (
        pl.score_plan(
            pl.uniform_plan(graph, topology, tensor_parallel=chips), graph, topology, work
        )
        for chips in (1, 2)
    )
    assert found.bound == pytest.approx(min(single.tpot_s, both.tpot_s), rel=1e-9)


@pytest.mark.parametrize("layers", [4, 5])
def test_the_engines_own_cut_is_taken_where_it_is_as_good(layers):
    # One request: its tokens pass all stages, wherever these begin.
    graph = tiny_graph(layers)
    topology = machine(2, fabric("switch", 2), chip=tiny_chip(0.8 * graph.weight_bytes))
    work = pl.Workload(batch_size=1, prompt_tokens=90, output_tokens=20)
    no_tensor = tiny_software(engine=tiny_engine(), most_tensor_parallel=1)
    found = pl.partition(graph, topology.replace(software=no_tensor), work, minimize="tpot_s")
    own = pl.uniform_plan(graph, topology, pipeline_parallel=2)
    assert [one.layers for one in found.plan.stages] == [one.layers for one in own.stages]


def test_an_uneven_cut_is_taken_where_it_pays():
    # A head as heavy as several layers: the last stage gets fewer of them.
    graph = tiny_graph(6, vocabulary=100_000)
    topology = machine(2, fabric("switch", 2), chip=tiny_chip(0.8 * graph.weight_bytes))
    no_tensor = tiny_software(engine=tiny_engine(), most_tensor_parallel=1)
    found = pl.partition(graph, topology.replace(software=no_tensor), OPEN, maximize="tokens_per_s")
    first, last = (len(one.layers) for one in found.plan.stages)
    assert first > last


# vLLM's pull request 6920: Llama-3-70B with layers of 8 bit, eight L4, eight stages. The even cut
# has 1,476 blocks of 16 tokens for its KV cache; fewer layers at both ends make that 3,078.
LAYER_TOKEN_BYTES = 2 * 8 * 128 * 2
BLOCK_BYTES = 16 * LAYER_TOKEN_BYTES
EIGHT_L4 = pl.load_topology("l4", chips=8, software="vllm")
NO_TENSOR = EIGHT_L4.software.replace(most_tensor_parallel=1)


def llama_70b(weight_dtype):
    # Published checkpoints of 8 bit leave embedding and head at 16.
    shape = DecoderShape(
        layers=80,
        hidden=8192,
        heads=64,
        kv_heads=8,
        head_dim=128,
        ffn=28672,
        vocabulary=128256,
        unquantised=("embedding",),
    )
    return decoder_graph(shape, "llama-3-70b", Formats(weight_dtype=weight_dtype))


def decoder_layers(plan):
    return [sum(name.startswith("decoder") for name in stage.layers) for stage in plan.stages]


def cache_blocks(plan, score):
    """Of the stage that has room for the fewest."""
    rooms = (
        (stage.usable_bytes - stage.weight_bytes - stage.activation_bytes) / (layers * BLOCK_BYTES)
        for stage, layers in zip(score.stages, decoder_layers(plan), strict=True)
    )
    return min(rooms)


def even_and_best_blocks(graph, topology):
    """Of the even cut, and of that with the most tokens a second."""
    work = pl.Workload(batch_size=None, prompt_tokens=778, output_tokens=56)
    even = pl.uniform_plan(graph, topology, pipeline_parallel=8)
    assert decoder_layers(even) == [10] * 8
    score = pl.score_plan(even, graph, topology, work)
    found = pl.partition(graph, topology, work, maximize="tokens_per_s")
    assert found.status == "optimal"
    ends = decoder_layers(found.plan)[0], decoder_layers(found.plan)[-1]
    assert max(ends) < max(decoder_layers(found.plan)) == 11
    return cache_blocks(even, score), cache_blocks(found.plan, found.score)


@pytest.mark.slow
def test_fewer_layers_on_the_first_and_last_chip_make_the_room_that_was_measured():
    graph = llama_70b("fp8")
    layer_bytes = 8192 * (64 + 2 * 8) * 128 + 64 * 128 * 8192 + 3 * 8192 * 28672
    vocabulary_bytes = 128256 * 8192 * 2
    buffer_bytes = 101_974_016
    usable_bytes = 1476 * 10 * BLOCK_BYTES + 10 * layer_bytes + vocabulary_bytes + buffer_bytes
    memory_bytes = 0.92 * EIGHT_L4.chip.memory[0].capacity_bytes
    assert memory_bytes > usable_bytes + NO_TENSOR.reserved_bytes
    # What was measured says nothing of buffers: those of the widest matmul alone, 778 tokens.
    plain = {"live_streams": 0.0, "sampling_streams": 0.0, "logit_bytes": 0.0}
    less = NO_TENSOR.replace(reserved_bytes=memory_bytes - usable_bytes, **plain)
    even, best = even_and_best_blocks(graph, EIGHT_L4.replace(software=less))
    by_hand = (1476 * 10 * BLOCK_BYTES + vocabulary_bytes - layer_bytes) / (11 * BLOCK_BYTES)
    assert even == pytest.approx(1476, rel=1e-3)
    assert best == pytest.approx(by_hand, rel=1e-3)
    assert best == pytest.approx(3078, rel=0.01)


def test_with_weights_of_16_bit_the_layers_in_between_soon_have_less_room():
    even, best = even_and_best_blocks(llama_70b("bf16"), EIGHT_L4.replace(software=NO_TENSOR))
    assert (round(16 * even, -3), round(16 * best, -3)) == (51_000, 55_000)
    assert best / even < 1.1


# ── Replicas and machines ────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_fewest_replicas_that_keep_up_are_taken():
    work = pl.Workload(requests_per_s=20_000.0, prompt_tokens=90, output_tokens=20)
    graph, topology = tiny_graph(3), machine(8)
    found = pl.partition(graph, topology, work, minimize="chips")
    assert 1 < found.score.chips < 8
    fewer = topology.replace(chips=found.score.chips - 1)
    with pytest.raises(pl.InfeasibleError):
        pl.partition(graph, fewer, work, minimize="chips")


def test_a_rate_may_bring_about_fewer_sequences_than_micro_batches():
    # The memory asks for three stages; of ten requests a second one is there at a time.
    graph = tiny_graph(4)
    software = {"most_tensor_parallel": 1}
    topology = machine(3, software=software, chip=tiny_chip(0.55 * graph.weight_bytes))
    work = pl.Workload(requests_per_s=10.0, prompt_tokens=90, output_tokens=20)
    found = pl.partition(graph, topology, work, minimize="tpot_s")
    assert len(found.plan.stages) > 1
    assert found.score.batch_size == 1
    assert pl.check_plan(found.plan, graph, topology, work) == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(some(10, 40)))
def test_nothing_that_the_engine_can_be_started_with_is_better(seed):
    """All forms, replicas, batches and cuts of small questions, each through `check_plan` and
    `score_plan`."""
    dice = random.Random(f"oracle {seed}")
    space = None
    while space is None:
        with contextlib.suppress(pl.InputError):
            space = _small_space(dice)
    least = min(_values(space), default=math.inf)
    search = EngineSearch(space.candidates)
    search.run()
    assert search.stopped_by == "proof"
    if least == math.inf:
        assert search.best.plan is None
    else:
        assert least * (1 - 1e-9) <= search.best.value <= least * (1 + 1.001e-3)


def _small_space(dice):
    graph = random_model(dice)
    topology = random_machine(dice, graph)
    few = topology.software.replace(most_sequences=3)
    limits = dice.choice(({}, {"tpot_s": 1e-3}, {"ttft_s": 2e-2}, {"chips": 2.0}))
    work = random_request(dice)
    return space_of(
        graph, topology.replace(chips=3, software=few), work, random_objective(dice, work), limits
    )


def _values(space):
    work = space.workload
    for form in itertools.chain.from_iterable(forms_of(space.candidates)):
        for replicas in range(1, form.most_replicas + 1):
            first, last = 1, 1
            if work.batch_size is not None:
                first = last = -(-work.batch_size // replicas)
            elif work.phase != "prefill":
                last = 3 * form.split.attention
                if space.rate:
                    # Of like micro-batches then: one to as many as there are, then two in each.
                    most = space.batches(form).most_in_flight or last
                    last = min(last, most - 1 + last // most)
            for found in found_in(space, Span(form, replicas, first, last), replicas):
                yield value_of(space, found)


@pytest.mark.slow
@pytest.mark.parametrize("graph", [tiny_graph(4), tiny_moe(3)], ids=["dense", "experts"])
def test_a_larger_machine_never_gets_a_worse_answer(graph):
    limits = {"tpot_s": 2e-3}
    values = [
        pl.partition(
            graph,
            machine(chips, software={"engine": tiny_engine(attention="none")}),
            OPEN,
            maximize="tokens_per_s",
            limits=limits,
        ).objective
        for chips in range(1, 9)
    ]
    for smaller, larger in itertools.pairwise(values):
        assert larger >= smaller * (1 - 1e-3)


def test_the_engines_search_is_for_software_whose_rules_are_known():
    assert isinstance(search_of(candidates()), EngineSearch)
    unknown = candidates(topology=tiny_topology(4))
    assert isinstance(search_of(unknown), Search)
    assert isinstance(search_of(candidates().of("any")), Search)


def fields_of(work):
    """What may be asked of a workload, the better the less of it and the more of it."""
    if work.requests_per_s is not None:
        times = ["tpot_s", "ttft_s", "request_s"]
        counted = ["chips", "usd_per_million_tokens", "usd_per_hour", "tokens_per_s_per_chip"]
        return [*times, *counted]
    absent = NOT_IN_PHASE.get(work.phase, ())
    return [name for name in (*MINIMIZED, *MAXIMIZED) if name not in absent]


def best_or_none(graph, topology, work, field, limits):
    direction = "maximize" if field in MAXIMIZED else "minimize"
    try:
        return pl.partition(graph, topology, work, limits=limits, **{direction: field})
    except pl.InfeasibleError:
        return None


def some_limit(dice, score, names):
    """A little worse than what a plan reaches, or a little better."""
    name = dice.choice(names)
    value = float(getattr(score, name))
    if value <= 0:
        return {}
    return {name: value * dice.choice((0.8, 0.99) if name in MAXIMIZED else (1.01, 1.2))}


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=some(15, 60))
def test_more_chips_never_make_the_answer_to_a_random_question_worse(seed):
    dice = random.Random(f"grow {seed}")
    graph = random_model(dice)
    topology = random_machine(dice, graph).replace(chips=6)
    work = random_request(dice)
    names = fields_of(work)
    field = dice.choice(names)
    limits = {}
    whole = best_or_none(graph, topology, work, field, {})
    if whole is not None and dice.random() < 0.5:
        limits = some_limit(dice, whole.score, [name for name in names if name != field])
    sign = -1 if field in MAXIMIZED else 1
    before = None
    for chips in range(1, 7):
        result = best_or_none(graph, topology.replace(chips=chips), work, field, limits)
        if before is not None:
            assert result is not None
            assert sign * (result.bound - before) <= 1e-9 * abs(before)
        before = None if result is None else result.bound


@pytest.mark.parametrize(("times", "chips"), [(1.5, 2), (2.1, 3), (2.5, 3), (2.9, 3)])
def test_where_prompts_alone_fill_some_chips_more_are_held(times, chips):
    """Requests of long prompts and few tokens come so many times as fast as one chip takes them:
    what prompts need says how many chips, where what tokens need would allow fewer."""
    software = tiny_software(
        engine=tiny_engine(), most_tensor_parallel=1, most_sequences=7, interruption_share=0.6,
        prefill_chunk_tokens=64,
    )  # fmt: skip
    graph, machine = tiny_graph(2), tiny_topology(3, chip=tiny_chip(1e10), software=software)
    work = pl.Workload(batch_size=None, prompt_tokens=500, output_tokens=2, requests_per_s=1.0)
    one = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, work)
    rate = times * one.load.most_requests_per_s
    found = pl.partition(graph, machine, work.replace(requests_per_s=rate), minimize="chips")
    assert found.score.chips == chips == found.bound


@pytest.mark.parametrize("space", ["engine", "any"])
def test_a_chain_without_embedding_and_head_is_planned_too(space):
    """Of software without rules, whose search starts from uniform plans."""
    graph, machine = chain(layer("a", matmul()), layer("b", matmul())), round_machine(1)
    work = pl.Workload(batch_size=None, prompt_tokens=10, output_tokens=2)
    result = pl.partition(graph, machine, work, maximize="tokens_per_s", space=space)
    assert result.bound == result.score.tokens_per_s > 0


def test_a_search_of_any_plans_that_is_cut_off_has_a_bound_of_all_of_them():
    graph, topology = tiny_graph(6), tiny_topology(4)
    work = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)
    asked = Candidates(graph, topology, work, question_of("tpot_s", None, None, None, space="any"))
    whole = FreeSearch(asked)
    whole.run()
    assert whole.floor == 0.0
    with ticking(0.001):
        late = FreeSearch(asked, time_limit_s=10.0)
        late.run()
    assert 0.5 * whole.best.value < late.floor <= whole.best.value * (1 + 1e-9)
