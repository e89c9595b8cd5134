"""`fewest_chips` against every size of a machine, asked one by one."""

import itertools
import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.sizings import Sizing
from planner.machines.prices import Offer, Price
from planner.planning import sizing
from planner.planning.seating import waits
from planner.planning.sizing import Extent, extents_of, fewest_chips
from planner.space.layout import packing_of, starts_of
from tests.instances import (
    ENGINES,
    fabric,
    random_graph,
    tiny_chip,
    tiny_graph,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, some

GRAPH = tiny_graph()
RATE = pl.Workload(requests_per_s=400.0, prompt_tokens=100, output_tokens=20)


def node_of(chips: int = 4, nodes: int = 4, **changes) -> pl.Topology:
    """Nodes of chips on a switch, joined by another."""
    engine = ENGINES[changes.pop("engine", "as many as stages")]
    given = {"software": tiny_software(engine=engine), **changes}
    fabrics = (fabric("switch", chips), fabric("switch", nodes, bandwidth_bytes_per_s=1e9))
    return tiny_topology(chips * nodes, *fabrics, **given)


def one_by_one(graph, topology, workload, limits=None, sizes=None, **options) -> float:
    """The fewest chips of all sizes of a machine, each asked by itself; infinite where none do."""
    least = math.inf
    for chips in sizes or range(1, topology.chips + 1):
        machine = topology.replace(chips=chips)
        try:
            found = pl.partition(
                graph, machine, workload, minimize="chips", limits=limits, offload=False, **options
            )
        except pl.InfeasibleError:
            continue
        if not waits(found):
            assert found.status == "optimal"
            least = min(least, found.score.chips)
    return least


def sized(graph, topology, workload, limits=None, **options) -> float:
    """The same at once."""
    try:
        row = fewest_chips(graph, topology, workload, limits=limits, **options).machines[0]
    except pl.InfeasibleError:
        return math.inf
    assert row.status == "optimal"
    assert row.chips == row.bound_chips == row.result.score.chips
    assert row.result.topology.chips <= topology.chips
    return row.chips


# ── The fewest of all sizes ──────────────────────────────────────────────────────────────────────


def asked(dice: random.Random) -> tuple[pl.Workload, dict[str, float]]:
    """A workload of some kind, with limits or without."""
    size = {"prompt_tokens": dice.choice((20, 200)), "output_tokens": dice.choice((2, 20))}
    limits = {}
    if dice.random() < 0.5:
        limits["tpot_s"] = dice.choice((2e-4, 4e-4, 2e-3))
    if dice.random() < 0.3:
        limits["ttft_s"] = dice.choice((1e-3, 1e-2))
    kind = dice.choice(("rate", "users", "open", "tokens"))
    if kind == "rate":
        return pl.Workload(requests_per_s=dice.choice((300.0, 3000.0, 10000.0)), **size), limits
    if kind == "users":
        return pl.Workload(batch_size=dice.choice((5, 100, 400)), **size), limits
    if kind == "tokens":
        limits["tokens_per_s"] = dice.choice((2e4, 2e5, 5e5))
    return pl.Workload(batch_size=None, **size), limits


@pytest.mark.parametrize("case", mostly_slow(range(some(20, 60)), but=(0, 3, 7, 11)))
def test_the_fewest_chips_are_those_of_the_best_of_all_sizes(case):
    dice = random.Random(f"sizing {case}")
    inner = dice.choice((2, 3, 4, 5))
    shape = dice.choice(("switch", "full-mesh", "chain"))
    fabrics = (
        fabric(shape, inner),
        fabric("switch", dice.choice((2, 3)), bandwidth_bytes_per_s=1e9, latency_s=2e-5),
    )
    topology = tiny_topology(
        inner * fabrics[1].units,
        *fabrics,
        chip=tiny_chip(dice.choice((15e6, 30e6, 100e6))),
        software=tiny_software(engine=ENGINES[dice.choice(list(ENGINES))]),
    )
    graph = random_graph(dice)
    workload, limits = asked(dice)
    assert sized(graph, topology, workload, limits) == one_by_one(graph, topology, workload, limits)


@pytest.mark.parametrize("shape", ["ring", "torus", "mesh", "links"])
@pytest.mark.parametrize("rate", mostly_slow((2000.0, 5000.0, 12000.0), but=(5000.0,)))
def test_a_fabric_that_is_wired_anew_with_each_chip_is_asked_at_every_size(shape, rate):
    inner = fabric(shape, 4, bandwidth_bytes_per_s=1e9)
    topology = tiny_topology(
        8, inner, fabric("switch", 2), software=tiny_software(engine=ENGINES["as many as stages"])
    )
    assert Extent("tiny", topology, None).even_from == 4
    workload = RATE.replace(requests_per_s=rate)
    limits = {"tpot_s": 3e-4}
    assert sized(GRAPH, topology, workload, limits) == one_by_one(GRAPH, topology, workload, limits)


@pytest.mark.slow
def test_of_very_many_sizes_some_are_asked_and_little_is_proved(monkeypatch):
    monkeypatch.setattr(sizing, "MOST_SIZES", 4)
    machine = tiny_topology(
        16, fabric("torus", 16), software=tiny_software(engine=ENGINES["as many as stages"])
    )
    workload, limits = RATE.replace(requests_per_s=8000.0), {"tpot_s": 2e-4}
    row = fewest_chips(GRAPH, machine, workload, limits=limits).machines[0]
    assert (row.status, row.bound_chips) == ("feasible", 1)
    assert row.chips == one_by_one(GRAPH, machine, workload, limits) > 1
    with pytest.raises(pl.NoPlanFoundError, match="and nothing is proved of them"):
        fewest_chips(GRAPH, machine, workload, limits={"tpot_s": 1e-9})


@pytest.mark.slow
def test_plans_of_any_form_are_sized_too():
    topology = node_of(2, 2)
    found = sized(GRAPH, topology, RATE, {"tpot_s": 3e-4}, space="any")
    assert found == one_by_one(GRAPH, topology, RATE, {"tpot_s": 3e-4}, space="any")


@pytest.mark.slow
def test_plans_that_leave_holes_between_nodes_are_found_and_pay_for_the_holes():
    """Three stages of two chips: the third keeps clear of the border of a node of four."""
    graph = tiny_graph(layers=3)
    topology = node_of(4, 16, chip=tiny_chip(35e6))
    workload = RATE.replace(requests_per_s=9000.0)
    limits = {"tpot_s": 1e-2}
    row = fewest_chips(graph, topology, workload, limits=limits).machines[0]
    assert row.chips == one_by_one(graph, topology, workload, limits, range(4, 65, 4)) == 18
    assert (row.result.plan.replicas, row.bill.nodes, row.result.topology.chips) == (3, 6, 24)
    assert row.paid_result is None


@pytest.mark.parametrize(
    "fabrics", [(2, 9), (5, 7), (8, 6), (2, 4, 6), (3, 5, 4), (2, 3, 2, 4)], ids=str
)
def test_every_plan_on_so_many_chips_finds_room_on_the_size_that_settles_it(fabrics):
    chips = math.prod(fabrics)
    topology = tiny_topology(chips, *(fabric("switch", units) for units in fabrics))
    extent = Extent("tiny", topology, None)
    packing = packing_of(topology)
    seen = 0
    for width, stages, replicas in itertools.product(range(1, 17), range(1, 9), range(1, 17)):
        held = width * stages * replicas
        if held > chips:
            continue
        _, end = starts_of(packing, [width] * stages)
        bases = packing.copies(end, replicas) if end <= chips else None
        if bases is None:
            continue
        seen += 1
        assert bases[-1] + end <= extent.room_for(held)
    assert seen > 50


@pytest.mark.slow
@example(widths=[1, 9], replicas=2)
@given(widths=st.lists(st.integers(1, 12), min_size=1, max_size=8), replicas=st.integers(1, 5))
def test_so_do_plans_whose_stages_are_unlike(widths, replicas):
    topology = tiny_topology(512, fabric("switch", 8), fabric("switch", 64))
    packing = packing_of(topology)
    _, end = starts_of(packing, widths)
    bases = packing.copies(end, replicas) if end <= 512 else None
    if bases is None:
        return
    room = Extent("tiny", topology, None).room_for(replicas * sum(widths), alike=False)
    assert bases[-1] + end <= room


@pytest.mark.slow
@given(chips=st.integers(1, 60), alike=st.booleans())
def test_a_size_settles_what_it_has_room_for_and_no_more(chips, alike):
    extent = Extent("tiny", node_of(4, 16), None)
    settled = extent.settles(chips, alike=alike)
    assert extent.room_for(settled, alike=alike) <= chips
    assert settled == 64 or extent.room_for(settled + 1, alike=alike) > chips


@pytest.mark.slow
def test_more_chips_of_the_same_machine_never_need_more():
    topology = node_of(3, 4)
    workload = RATE.replace(requests_per_s=12000.0)
    needed = [
        one_by_one(GRAPH, topology, workload, {"tpot_s": 2e-4}, sizes=[size])
        for size in range(1, 13)
    ]
    assert needed == sorted(needed, reverse=True)
    assert (needed[0], needed[-1]) == (math.inf, 8)


@pytest.mark.slow
@settings(max_examples=some(5, 12))
@given(
    rates=st.lists(st.floats(10, 12000), min_size=2, max_size=2),
    tpots=st.lists(st.floats(1e-4, 2e-3), min_size=2, max_size=2),
)
def test_a_higher_rate_or_a_tighter_limit_never_needs_fewer_chips(rates, tpots):
    topology = node_of(4, 4)
    low, high = (RATE.replace(requests_per_s=rate) for rate in sorted(rates))
    tight, loose = ({"tpot_s": tpot} for tpot in sorted(tpots))
    easy = sized(GRAPH, topology, low, loose)
    assert easy <= sized(GRAPH, topology, high, loose)
    assert easy <= sized(GRAPH, topology, low, tight)


def test_users_at_once_do_not_wait():
    """Each chip holds 64 sequences of an engine: 100 users need two, though one takes 64 of
    them."""
    users = pl.Workload(batch_size=100, prompt_tokens=20, output_tokens=4)
    assert sized(GRAPH, node_of(), users) == 2
    with pytest.raises(
        pl.InfeasibleError,
        match=r"1 × tiny have room for [0-9]+ users at once, and 100 are",
    ):
        fewest_chips(GRAPH, node_of().replace(chips=1), users)


@pytest.mark.slow
def test_a_model_without_demand_has_to_fit():
    chip = tiny_chip(GRAPH.weight_bytes * 0.7)
    assert sized(GRAPH, node_of(chip=chip), None) == one_by_one(
        GRAPH, node_of(chip=chip), pl.Workload(batch_size=None)
    )
    assert sized(GRAPH, node_of(), None) == 1


@pytest.mark.slow
def test_a_limit_on_chips_is_kept_beside_ours_and_told_as_it_was_given():
    found = fewest_chips(GRAPH, node_of(), RATE, limits={"chips": 7, "tpot_s": 1e-2})
    assert dict(found.limits) == {"chips": 7.0, "tpot_s": 1e-2}
    assert dict(fewest_chips(GRAPH, node_of(), RATE).limits) == {}
    hard = RATE.replace(requests_per_s=20000.0)
    needed = fewest_chips(GRAPH, node_of(), hard).machines[0].chips
    assert needed > 1
    with pytest.raises(pl.InfeasibleError):
        fewest_chips(GRAPH, node_of(), hard, limits={"chips": needed - 1})


def test_without_time_nothing_is_claimed():
    with pytest.raises(pl.NoPlanFoundError):
        fewest_chips(GRAPH, node_of(), RATE, time_limit_s=0.0)


# ── What is told ─────────────────────────────────────────────────────────────────────────────────


def priced(topology: pl.Topology, name: str, usd: float | None, basis: str = "node") -> pl.Topology:
    price = Price()
    if usd is not None:
        offer = Offer(basis=basis, rent_usd_per_chip_hour=usd)
        price = Price(usd_per_chip_hour=usd, basis=basis, offers=(offer,))
    return topology.replace(name=name, price=price)


@pytest.mark.slow
def test_chips_are_paid_in_whole_nodes_where_the_price_has_a_share_of_them():
    users = pl.Workload(batch_size=100, prompt_tokens=20, output_tokens=4)
    node = fewest_chips(GRAPH, priced(node_of(), "node", 3.0), users).machines[0]
    assert (node.chips, node.bill.nodes, node.bill.node_chips, node.bill.paid_chips) == (2, 1, 4, 4)
    assert (node.bill.held_usd_per_hour, node.usd_per_hour) == (6.0, 12.0)
    tokens_per_s = node.result.score.tokens_per_s
    assert node.bill.usd_per_million_tokens == pytest.approx(12.0 / 3600 / tokens_per_s * 1e6)
    assert node.tokens_per_s_per_chip == tokens_per_s / 2
    rented = fewest_chips(GRAPH, priced(node_of(), "rent", 3.0, "rental"), users).machines[0]
    assert (rented.bill.nodes, rented.bill.paid_chips, rented.usd_per_hour) == (1, 2, 6.0)
    single = priced(tiny_topology(8, fabric("switch", 8)), "single", 3.0)
    alone = fewest_chips(GRAPH, single, users).machines[0]
    assert (alone.bill.nodes, alone.bill.paid_chips, alone.usd_per_hour) == (None, 2, 6.0)


@pytest.mark.slow
def test_where_whole_nodes_are_paid_a_plan_that_needs_fewer_is_told_and_billed():
    """Three replicas of four chips take a node of six each; as many chips in two nodes do too."""
    machine = priced(node_of(6, 3), "six", 3.0)
    hard, limits = RATE.replace(requests_per_s=12000.0), {"tpot_s": 2e-4}
    asking = sizing._Asking(GRAPH, hard, limits, {})
    (extent,) = extents_of({"six": machine})
    plan = pl.uniform_plan(GRAPH, machine, tensor_parallel=4, data_parallel=3)
    result = pl.partition(GRAPH, machine, hard, minimize="chips", limits=limits)
    scattered = result.replace(plan=plan, score=pl.score_plan(plan, GRAPH, machine, hard))
    row = sizing._row(asking, extent, sizing._Fewest(scattered, bound=7))
    assert (row.chips, sizing._nodes(scattered, 6)) == (12, 3)
    assert row.paid_result.topology.chips == 12
    assert (row.bill.nodes, row.bill.paid_chips, row.usd_per_hour) == (2, 12, 36.0)
    rented = scattered.replace(topology=priced(machine, "six", 3.0, "rental"))
    assert sizing._on_fewest_nodes(asking, extent, sizing._Fewest(rented, bound=7)) is None
    assert sizing._on_fewest_nodes(asking, extent, sizing._Fewest(scattered, bound=13)) is None


@pytest.mark.slow
def test_sizes_in_between_are_not_explained(monkeypatch):
    explained = []
    honest = sizing.partition
    monkeypatch.setattr(
        sizing,
        "partition",
        lambda *asked, **options: explained.append(options["explain"]) or honest(*asked, **options),
    )
    hard = RATE.replace(requests_per_s=12000.0)
    assert fewest_chips(GRAPH, node_of(4, 16), hard, limits={"tpot_s": 2e-4}).machines[0].chips == 8
    assert explained
    assert not any(explained)


@pytest.mark.slow
def test_the_cheapest_machine_stands_first_and_one_without_a_price_last():
    machines = [
        priced(node_of(), "silent", None),
        priced(node_of(), "dear", 3.0),
        priced(node_of(), "cheap", 2.0),
    ]
    found = fewest_chips(GRAPH, machines, RATE)
    assert [one.machine for one in found.machines] == ["cheap", "dear", "silent"]
    assert found.ranked
    assert found.cheapest.machine == "cheap"
    assert found.notes == (
        "no price is known for silent, which comes last; --price '2.10 USD/h' gives one",
    )


@pytest.mark.slow
def test_prices_that_count_different_things_are_not_ranked():
    machines = [priced(node_of(), "dear", 3.0), priced(node_of(), "cheap", 2.0, "rental")]
    found = fewest_chips(GRAPH, machines, RATE)
    assert [one.machine for one in found.machines] == ["dear", "cheap"]
    assert not found.ranked
    assert found.cheapest is None
    assert "not ranked by price: usd_per_hour is not comparable" in found.notes[0]


@pytest.mark.slow
def test_prices_are_counted_alike_beside_a_machine_that_has_none():
    both = Price(
        usd_per_chip_hour=3.0,
        basis="node",
        offers=(
            Offer(basis="node", rent_usd_per_chip_hour=3.0),
            Offer(basis="rental", rent_usd_per_chip_hour=5.0),
        ),
    )
    machines = [
        node_of().replace(name="both", price=both),
        priced(node_of(), "rented", 4.0, "rental"),
        priced(node_of(), "silent", None),
    ]
    found = fewest_chips(GRAPH, machines, RATE)
    assert [one.machine for one in found.machines] == ["rented", "both", "silent"]
    assert [one.bill.basis for one in found.machines] == ["rental", "rental", "unknown"]


@pytest.mark.slow
def test_a_machine_that_cannot_do_it_has_a_row_that_says_why():
    small = node_of(chip=tiny_chip(1e6))
    found = fewest_chips(GRAPH, {"small": small, "large": node_of()}, RATE)
    large, refused = found.machines
    assert (large.machine, refused.machine) == ("large", "small")
    assert (refused.status, refused.result, refused.bill) == ("infeasible", None, None)
    assert refused.bound_chips == refused.most_chips + 1
    assert "does not fit" in refused.reason
    with pytest.raises(pl.InfeasibleError, match=r"does not fit.*; .*does not fit"):
        fewest_chips(GRAPH, {"small": small, "same": small}, RATE)


@pytest.mark.slow
def test_the_plan_costs_the_same_on_the_machine_that_is_told():
    row = fewest_chips(GRAPH, node_of(4, 8), RATE, limits={"tpot_s": 3e-4}).machines[0]
    asked = row.result
    assert asked.topology.chips == 4 * row.bill.nodes
    whole = pl.score_plan(asked.plan, GRAPH, node_of(4, 8), asked.workload)
    assert whole == asked.score == pl.score_plan(asked.plan, GRAPH, asked.topology, asked.workload)
    assert pl.verify(asked.certificate()).confirmed


@pytest.mark.slow
def test_times_are_the_percentiles_that_are_limited_and_what_they_are_surely_kept_to():
    limits = {"ttft_p50_s": 1.0, "ttft_p99_s": 1.0, "request_s": 10.0}
    row = fewest_chips(GRAPH, node_of(), RATE, limits=limits, sure=0.8).machines[0]
    score = row.result.score
    assert [told.field for told in row.times] == ["ttft_p99_s", "tpot_s", "request_s"]
    for told in row.times:
        assert told.value_s == getattr(score, told.field)
        assert told.low_s <= told.value_s <= told.sure_s <= told.high_s
        assert told.sure_s == score.sure(told.field, 0.8)
    plain = fewest_chips(GRAPH, node_of(), RATE).machines[0]
    assert [(told.field, told.sure_s) for told in plain.times] == [
        ("ttft_s", None),
        ("tpot_s", None),
    ]


@pytest.mark.slow
def test_a_time_without_end_has_no_figure():
    row = fewest_chips(GRAPH, node_of().replace(chips=1), RATE).machines[0]
    most = row.headroom.capacity
    found = fewest_chips(
        GRAPH,
        node_of().replace(chips=1),
        RATE.replace(requests_per_s=0.99 * most),
        limits={"tpot_p99_s": 10.0},
    )
    told = found.machines[0].times[1]
    assert told.field == "tpot_p99_s"
    assert told.high_s is None
    assert Sizing.from_json(found.to_json()) == found


# ── Percentiles, how sure they are, and streams of open rate ─────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("sure", [None, 0.8])
@pytest.mark.parametrize("rate", [4000.0, 16000.0])
def test_the_fewest_chips_that_keep_percentiles_are_those_of_the_best_of_all_sizes(rate, sure):
    workload = RATE.replace(requests_per_s=rate)
    limits = {"ttft_p99_s": 0.01, "tpot_p99_s": 6e-4}
    machine = node_of(2, 3)
    found = sized(GRAPH, machine, workload, limits, sure=sure)
    assert found == one_by_one(GRAPH, machine, workload, limits, sure=sure)


@pytest.mark.slow
def test_an_open_stream_is_sized_for_the_rate_that_limits_ask_for():
    stream = pl.Workload(arrivals="poisson", prompt_tokens=100, output_tokens=20)
    limits = {"tpot_p99_s": 6e-4}
    given = fewest_chips(GRAPH, node_of(2, 1), RATE.replace(requests_per_s=4000.0), limits=limits)
    for demand in ({"requests_per_s": 4000.0}, {"tokens_per_s": 80000.0, "requests_per_s": 1.0}):
        found = fewest_chips(GRAPH, node_of(2, 1), stream, limits=limits | demand)
        assert found.machines[0].result.plan == given.machines[0].result.plan
        assert found.workload.requests_per_s == 4000.0
        assert found.machines[0].headroom.demand == 4000.0
        assert dict(found.limits) == limits


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (None, "the fewest chips depend on the rate of requests, which is open"),
        ({"tpot_p99_s": 1.0}, "give Workload.requests_per_s, or a limit on requests_per_s"),
        (
            {"requests_per_s": 30, "usd_per_million_tokens": 1},
            "usd_per_million_tokens depends on the rate of requests, which is open",
        ),
    ],
)
def test_an_open_stream_without_a_demand_is_refused(limits, sentence):
    stream = pl.Workload(arrivals="poisson", prompt_tokens=100, output_tokens=20)
    with pytest.raises(pl.InputError, match=sentence):
        fewest_chips(GRAPH, node_of(), stream, limits=limits)


@pytest.mark.slow
def test_limits_have_units_and_one_on_chips_as_text_is_kept_too():
    found = fewest_chips(GRAPH, node_of(), RATE, limits={"chips": "7", "tpot_s": "10 ms"})
    assert dict(found.limits) == {"chips": 7.0, "tpot_s": 1e-2}
    assert found.machines[0].status == "optimal"


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def test_a_machine_without_a_count_grows_as_far_as_the_catalogue_allows():
    (one,) = extents_of("hgx-h100")
    assert (one.name, one.topology.chips, one.node_chips) == ("hgx-h100", 1024, 8)
    (few,) = extents_of(["hgx-h100:12"])
    assert (few.name, few.topology.chips, few.node_chips) == ("hgx-h100:12", 12, 8)
    (card,) = extents_of("l4")
    assert card.node_chips is None
    (long,) = extents_of("groq-lpu-chain")
    assert long.topology.chips == sizing.MOST_CHIPS
    (given,) = extents_of({"ours": node_of()})
    assert (given.name, given.topology.chips, given.node_chips) == ("ours", 16, 4)


@pytest.mark.parametrize(
    ("machines", "sentence"),
    [
        ([], "at least one machine, such as 'hgx-h100'"),
        ({}, "at least one machine"),
        (["hgx-h10"], "there is no topology called 'hgx-h10'; the nearest names are hgx-h100"),
        (["hgx-h100:0"], "names no chips; give one or more, as in hgx-h100:8"),
        (["hgx-h100:-8"], "names no chips; give one or more, as in hgx-h100:8"),
        (["hgx-h100:two"], "must be a whole number"),
        (["hgx-h100:"], "must be a whole number"),
        (["hgx-h100:99999"], "its fabrics join at most 1024 chips, not 99999"),
        (["hgx-h100", "hgx-h100"], "hgx-h100 is given twice; leave one out"),
        (["hgx-h100", "h100"], "h100 is given twice, the first time as hgx-h100"),
        ([8], "machines must be names of the catalogue, such as"),
    ],
)
def test_a_wrong_machine_is_refused_in_a_sentence(machines, sentence):
    with pytest.raises(pl.InputError) as refusal:
        fewest_chips(GRAPH, machines, RATE)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("name", sizing.OURS)
def test_what_is_settled_here_is_no_option(name):
    with pytest.raises(pl.InputError, match=f"{name} is not an option of fewest_chips"):
        fewest_chips(GRAPH, node_of(), RATE, **{name: "chips"})


def test_a_model_of_pictures_is_refused():
    with pytest.raises(pl.InputError, match="makes pictures or videos"):
        fewest_chips(pl.load_model("dit-xl-2"), "hgx-h100", RATE)


def test_a_limit_that_is_no_field_is_refused_by_its_name():
    with pytest.raises(pl.InputError, match="tpot"):
        fewest_chips(GRAPH, node_of(), RATE, limits={"tpott_s": 1.0})
