"""What a crossover or a table of fading asks under agreed terms: each term moves the joules or dollars
of a machine as it should, or is refused in one sentence that names it."""

import pytest

import planner as pl
from planner.studies.advantage.agreements import agreement_of, in_flight, table_agreement
from planner.studies.advantage.crossovers import ONE_AT_A_TIME
from planner.studies.advantage.fades import AS_STORED
from planner.studies.advantage.races import Priced, Race
from planner.studies.advantage.terms import Terms
from planner.workload import Speculation

JOULES = "energy_per_token_j"
DOLLARS = "usd_per_million_tokens"
NGRAM = Speculation(tokens=3, kind="ngram")


def asked(metric=JOULES, terms=None, workload=None, **fields):
    return agreement_of(metric, "dense", ONE_AT_A_TIME, terms, fields, workload)


def best(machine, metric=JOULES, size=8e9, **fields) -> Priced:
    """The best uniform plan of one model on one machine."""
    agreed = asked(metric, **fields)
    (counted,) = agreed.machines([pl.load_topology(machine)])
    found = Race([counted], agreed, 1.0).best(size, counted)
    assert found is not None
    return found


WIDE = {"size": 4e11, "workload": pl.Workload(batch_size=6)}
MOVES = [
    # Longer prompts take longer, for as many tokens.
    ("prompt_tokens", "hgx-h100", JOULES, {}, {"prompt_tokens": 8192}, (1.1, 2.0)),
    # Longer answers share the prompt's joules.
    ("output_tokens", "hgx-h100", JOULES, {}, {"output_tokens": 1024}, (0.9, 0.99)),
    # Half the bytes, read over and over; the overhead of a step stays.
    ("weight_dtype", "hgx-h100", JOULES, {}, {"weight_dtype": "fp8"}, (0.5, 0.7)),
    # That chip multiplies 16 bit alone: twice the bytes of 8.
    (
        "formats",
        "article-h100",
        JOULES,
        {"weight_dtype": "fp8"},
        {"weight_dtype": "fp8", "formats": "nearest"},
        (1.95, 2.0),
    ),
    # A pass keeps 1 + 0.35 + 0.35² + 0.35³ = 1.515 tokens; the first one has no drafts.
    ("drafts", "article-h100", JOULES, {}, {"drafts": NGRAM}, (1 / 1.515, 1.01 / 1.515)),
    # Prompts no longer hold up the later tokens.
    ("pools", "hgx-h100", JOULES, {}, {"pools": True}, (0.9, 0.99)),
    # Eight share each read of the weights, not their caches and prompts.
    ("most_users", "hgx-h100", JOULES, {}, {"most_users": 8}, (1 / 8, 1 / 5)),
    # It draws as much when it waits, and waits for half of the hours.
    ("utilisation", "article-h100", JOULES, {}, {"utilisation": 0.5}, (1.999, 2.001)),
    # Less than that where idle chips draw less; dollars are paid for all hours.
    ("utilisation", "hgx-h100", JOULES, {}, {"utilisation": 0.5}, (1.2, 1.8)),
    ("utilisation", "hgx-h100", DOLLARS, {}, {"utilisation": 0.5}, (1.999, 2.001)),
    (
        "pue",
        "hgx-h100",
        JOULES,
        {},
        {"pue": 1.5, "power_scope": "facility"},
        (1.499, 1.501),
    ),
    # Power is a ninth of what an owner pays at a PUE of 1.
    ("pue", "hgx-h100", DOLLARS, {"pue": 1.0}, {"pue": 2.0}, (1.05, 1.2)),
    ("power_scope", "hgx-h100", JOULES, {}, {"power_scope": "chip"}, (0.5, 0.9)),
    # The chip without its share of the node.
    ("price_basis", "hgx-h100", DOLLARS, {}, {"price_basis": "chip"}, (0.5, 0.9)),
    # A chip that waits for memory draws less than was provisioned for it.
    ("power_basis", "hgx-h100", JOULES, {}, {"power_basis": "provisioned"}, (1.5, 2.5)),
    # Engines keep as many micro-batches in flight as there are stages.
    ("space", "hgx-h100", JOULES, WIDE, {**WIDE, "space": "any"}, (0.8, 0.9)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "metric", "plain", "changed", "factor"),
    [case[1:] for case in MOVES],
    ids=[f"{case[0]}-{case[1]}-{case[2]}" for case in MOVES],
)
def test_a_term_moves_what_a_machine_costs(machine, metric, plain, changed, factor):
    before, after = (best(machine, metric, **one).value for one in (plain, changed))
    low, high = factor
    assert low <= after / before <= high


def test_a_rate_is_served_by_copies_that_wait():
    # 700 W that are always drawn, over 0.01 requests/s of 256 tokens.
    found = best("article-h100", requests_per_s=0.01)
    assert found.value == pytest.approx(700 / 2.56)
    # At 2.5 times what one serves there are three.
    rate = 2.5 * found.score.requests_per_s
    three = best("article-h100", requests_per_s=rate)
    assert three.value == pytest.approx(3 * 700 / (rate * 256))


def test_each_field_of_terms_is_kept_or_refused():
    kept = {case[0] for case in MOVES} | {"requests_per_s"}
    with pytest.raises(pl.InputError, match=r"^unknown: a crossover cannot use machines"):
        asked(unknown="draw")
    assert kept | {"unknown"} == set(Terms.model_fields)


@pytest.mark.parametrize(
    ("metric", "fields", "named"),
    [
        ("tpot_s", {"pools": True}, "pools"),
        ("tpot_s", {"requests_per_s": 1.0}, "requests_per_s"),
        ("power_w", {"utilisation": 0.5}, "utilisation"),
        ("chips", {"most_users": 8}, "most_users"),
        (JOULES, {"pools": True, "workload": pl.Workload(arrivals="together")}, "pools"),
        (
            JOULES,
            {"requests_per_s": 2.0, "workload": pl.Workload(requests_per_s=1)},
            "requests_per",
        ),
    ],
)
def test_what_one_plan_cannot_tell_is_refused_of_other_metrics_and_requests(metric, fields, named):
    with pytest.raises(pl.InputError, match=rf"^{named}.*compares single plans that serve all the"):
        asked(metric, **fields)


def test_an_hours_price_pays_for_hours_that_wait_whatever_is_planned():
    agreed = asked("usd_per_hour", utilisation=0.5)
    assert not agreed.is_beyond_plans
    (machine,) = agreed.machines([pl.load_topology("hgx-h100")])
    full = pl.load_topology("hgx-h100").price.usd_per_chip_hour
    assert machine.price.usd_per_chip_hour == pytest.approx(2 * full)


@pytest.mark.parametrize(
    ("machine", "metric", "fields"),
    [
        ("hgx-h100", JOULES, {"pue": 1.5}),
        ("hgx-h100", "tpot_s", {"pue": 1.5}),
        # Rent has the power in it.
        ("hgx-h100", DOLLARS, {"pue": 1.5, "price_basis": "rental"}),
    ],
)
def test_a_pue_that_would_move_nothing_is_refused(machine, metric, fields):
    agreed = asked(metric, **fields)
    with pytest.raises(pl.InputError, match=rf"^pue: {metric} does not depend on it"):
        agreed.machines([pl.load_topology(machine)])


@pytest.mark.slow
def test_users_are_at_most_as_many_as_terms_say_or_as_many_as_a_workload_has():
    assert asked().workload.batch_size == 1
    assert asked(terms=Terms()).workload.batch_size is None
    assert best("hgx-h100", most_users=None).score.batch_size > 32
    eight = asked(workload=pl.Workload(batch_size=8))
    assert (eight.workload.batch_size, eight.terms.most_users) == (8, None)
    assert best("hgx-h100", workload=pl.Workload(batch_size=8)).score.batch_size == 8
    with pytest.raises(pl.InputError, match=r"^most_users: at most 4 .* the workload has 8"):
        asked(most_users=4, workload=pl.Workload(batch_size=8))


def test_a_workload_says_what_terms_leave_unsaid_and_contradicts_none():
    work = pl.Workload(prompt_tokens=2048, speculation=NGRAM)
    agreed = asked(workload=work)
    assert (agreed.terms.prompt_tokens, agreed.terms.drafts) == (2048, NGRAM)
    assert agreed.workload.speculation is None
    with pytest.raises(pl.InputError, match=r"^prompt_tokens: the terms and the workload"):
        asked(workload=work, terms=Terms(drafts=NGRAM))
    with pytest.raises(pl.InputError, match=r"^drafts: the terms and the workload"):
        asked(workload=work, drafts="best")


def test_proofs_are_of_plans_that_serve_all_the_time():
    assert asked().is_provable
    assert asked(drafts="best", power_scope="facility", pue=1.2).is_provable
    assert asked(DOLLARS, utilisation=0.5).is_provable
    assert asked(terms=Terms()).is_provable
    for fields in ({"pools": True}, {"requests_per_s": 1.0}, {"utilisation": 0.5}):
        assert not asked(**fields).is_provable
    assert not asked(most_users=8).is_provable


@pytest.mark.parametrize("field", ["pools", "requests_per_s", "most_users", "unknown"])
def test_a_table_refuses_what_its_rows_have_no_place_for(field):
    said = {"pools": True, "requests_per_s": 1.0, "most_users": 8, "unknown": "draw"}
    with pytest.raises(pl.InputError, match=rf"^{field}: .*a table of fading"):
        table_agreement(JOULES, AS_STORED, None, {field: said[field]}, None)


def test_what_is_unlike_other_workloads_is_said():
    assert in_flight(pl.Workload(batch_size=8)) == "8 requests in flight"
    assert in_flight(pl.Workload(batch_size=1), 1) == ""
    assert in_flight(pl.Workload(batch_size=None)) == "as many requests in flight as are best"
    together = pl.Workload(batch_size=2, arrivals="together")
    assert in_flight(together) == "2 requests in flight, that start together"


@pytest.mark.parametrize(
    ("work", "metric", "applies"),
    [
        (pl.Workload(batch_size=32), JOULES, True),
        (pl.Workload(batch_size=32), DOLLARS, True),
        # More replicas with fewer sequences each are faster: grids have one.
        (pl.Workload(batch_size=32), "tpot_s", False),
        (pl.Workload(batch_size=32, phase="decode"), JOULES, False),
        (pl.Workload(batch_size=32, arrivals="together"), JOULES, False),
    ],
)
def test_questions_that_grids_do_not_know(work, metric, applies):
    assert asked(metric, workload=work).is_on_grids is applies
