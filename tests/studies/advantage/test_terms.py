"""Terms: what is asked, what each machine makes of it, and what cannot be asked."""

import pytest

import planner as pl
from planner.catalogue import sources
from planner.studies.advantage.family import member
from planner.studies.advantage.terms import Side, Terms, TermsAsked, data_date, is_known, terms_of
from planner.workload import Speculation

H100, LPU, TPU = (pl.load_topology(name) for name in ("hgx-h100", "groq-lpu-chain", "tpu-v6e"))


def test_every_term_may_be_asked_for_by_a_keyword():
    assert set(TermsAsked.__annotations__) == set(Terms.model_fields)
    assert terms_of(Terms(pools=True), {"drafts": "best"}) == Terms(pools=True, drafts="best")
    with pytest.raises(pl.InputError, match="did you mean drafts"):
        terms_of(None, {"draft": "best"})


def test_a_rate_says_how_busy_machines_are_and_no_share_of_hours_goes_with_it():
    with pytest.raises(pl.InputError, match="requests_per_s says how busy"):
        Terms(requests_per_s=10.0, utilisation=0.5)


def test_formats_go_by_machine():
    assert Terms().dtype_on(LPU) == "int8"
    assert Terms(formats="stored").dtype_on(LPU) == "fp8"
    own = Terms(weight_dtype={"hgx-h100": "bf16"})
    assert own.dtype_on(H100) == "bf16"
    with pytest.raises(pl.InputError, match="groq-lpu-chain has none; give one for each machine"):
        own.dtype_on(LPU)


def test_a_machine_drafts_in_the_ways_that_its_software_knows_for_the_family():
    graph = member("dense", 8e9, "fp8")
    best = Terms(drafts="best")
    assert list(best.ways(H100, graph, "dense")) == ["none", "eagle3", "draft-model", "ngram"]
    assert "mtp" in best.ways(H100, graph, "moe")
    assert list(best.ways(LPU, graph, "dense")) == ["none", "draft-model"]
    assert list(best.ways(TPU, graph, "dense")) == ["none"]
    ways = best.ways(H100, graph, "dense")
    assert ways["eagle3"].draft.parameters < graph.parameters / 3
    assert ways["ngram"].draft is None
    given = Speculation(tokens=3, kind="ngram")
    assert Terms(drafts=given).ways(TPU, graph, "dense") == {"ngram": given}


def test_pools_are_of_machines_whose_software_has_them():
    assert Terms(pools=True).has_pools(H100)
    assert not Terms(pools=True).has_pools(LPU)
    assert not Terms().has_pools(H100)
    # 32 layers of 8 heads of 128, keys and values in 16 bit.
    sent = 1024 * 32 * 2 * 8 * 128 * 2
    outer = H100.fabrics[-1]
    expected = outer.latency_s + sent / outer.bandwidth_bytes_per_s
    graph = member("dense", 8e9, "fp8")
    assert Terms().transfer_s(H100, graph) == pytest.approx(expected, rel=0.01)


def test_the_owners_costs_go_to_every_machine():
    machines = Terms(pue=1.5, utilisation=0.5).machines([H100, LPU])
    assert {one.price.economics.pue for one in machines} == {1.5}
    full = Terms(pue=1.5).machines([H100, LPU])[0].price.usd_per_chip_hour
    assert machines[0].price.usd_per_chip_hour == pytest.approx(2 * full)


def test_joules_at_the_site_are_said_to_be():
    terms = Terms(power_scope="facility", pue=1.5)
    assert terms.counted(terms.machines([H100, LPU])).power_scope == "facility"
    assert "PUE 1.5 for all" in terms.words()


def test_what_is_not_known_is_refused_or_said():
    assert [is_known(TPU, one) for one in ("energy_per_token_j", "chips")] == [False, True]
    machines = [TPU, H100]
    with pytest.raises(pl.InputError, match="power of tpu-v6e, which is not published"):
        Terms().unknown_of(Terms().machines(machines), "energy_per_token_j")
    draw = Terms(unknown="draw")
    assert draw.unknown_of(draw.machines(machines), "energy_per_token_j") == ("tpu-v6e",)


def test_a_machine_that_is_not_known_keeps_no_other_from_being_counted_alike():
    cards = pl.load_topology("h200-nvl")
    machines = Terms(unknown="draw").machines([TPU, H100, cards])
    assert [one.power.system_w for one in machines] == [None, None, None]
    assert machines[1].power.chip_w == H100.power.chip_w


def test_rented_beside_bought_is_refused_in_one_sentence_even_where_the_unknown_is_drawn():
    terms = Terms(unknown="draw")
    with pytest.raises(pl.InputError, match="no price basis is known for all machines"):
        terms.unknown_of(terms.machines([TPU, LPU]), "usd_per_million_tokens")


def test_sides_say_software_format_drafts_and_pools():
    one = Terms(drafts="best", pools=True).side(H100, "dense")
    assert one.words() == (
        "hgx-h100: tensorrt-llm 1.2, fp8, drafts by eagle3, draft-model or ngram, two pools"
    )
    assert Terms().side(LPU, "dense").words() == "groq-lpu-chain: groq-compiler, int8"
    stored = Terms(formats="stored").side(LPU, "dense")
    assert "fp8 multiplied in fp16" in stored.words()
    assert Side.from_json(one.to_json()) == one


def test_terms_survive_json_and_say_themselves():
    terms = Terms(drafts="best", pools=True, requests_per_s=30.0, most_users=1)
    assert Terms.from_json(terms.to_json()) == terms
    assert "a load of 30 requests/s, at most 1 user in flight" in terms.words()


def test_the_day_of_the_data_is_one_that_a_source_states():
    assert any(data_date() in text for text in sources().values())
