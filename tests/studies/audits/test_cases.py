"""Cases: claims beside their machines and models."""

import pytest

import planner as pl
from planner.studies.audits.cases import Case, lacks, sized
from planner.studies.audits.claims import Claim
from planner.workload import Workload


def test_a_claim_without_a_format_is_read_in_those_that_the_chip_multiplies_in():
    formats = {
        name: Case(Claim(name="x", topology=name)).dtypes
        for name in ("hgx-h100", "hgx-b200", "groq-lpu-chain", "cerebras-cs3")
    }
    assert formats == {
        "hgx-h100": ("bf16", "fp8"), "hgx-b200": ("bf16", "fp8", "fp4"), "groq-lpu-chain": ("fp16", "int8"),
        "cerebras-cs3": ("bf16",),
    }  # fmt: skip
    assert Case(Claim(name="x", topology="hgx-h100", weight_dtype="int4")).dtypes == ("int4",)


@pytest.mark.slow
def test_the_least_batch_is_where_the_best_plan_first_reaches_the_figure():
    case = Case(Claim(name="x", topology="hgx-h100", chips=1, model="llama-3.1-8b"))
    batch, tried = case.least_batch("fp8", "tokens_per_s", lambda score: score.tokens_per_s >= 2000)
    assert [size for size, _ in tried] == [1, 4, 16]
    assert case.score("fp8", batch, "tokens_per_s").tokens_per_s >= 2000
    assert case.score("fp8", batch - 2, "tokens_per_s").tokens_per_s < 2000


def test_a_figure_out_of_reach_has_no_least_batch():
    case = Case(Claim(name="x", topology="hgx-h100", chips=1, model="llama-3.1-8b", batch_size=2))
    batch, tried = case.least_batch("fp8", "tokens_per_s", lambda score: score.tokens_per_s >= 1e9)
    assert batch is None
    assert len(tried) == 1


@pytest.mark.slow
def test_a_machine_without_a_count_gets_room_for_the_model():
    graph = pl.load_model("llama-3.1-8b", weight_dtype="int8")
    work = Workload(batch_size=1)
    lpus = pl.load_topology("groq-lpu-chain", chips=8)
    chips = sized(graph, lpus, work)
    assert (
        pl.partition(graph, lpus.replace(chips=chips), work, minimize="chips").score.chips
        <= chips
        < 100
    )
    assert sized(graph, pl.load_topology("hgx-h100"), work) == 8


@pytest.mark.slow
def test_a_machine_on_which_users_would_wait_gets_room_for_them():
    # Caches of 400 × 5,000 tokens of 131,072 B are 262 GB, weights 8: four chips of 85, and a
    # quarter more.
    graph = pl.load_model("llama-3.1-8b", weight_dtype="int8")
    crowd = Workload(batch_size=400, prompt_tokens=4000, output_tokens=1000)
    assert sized(graph, pl.load_topology("hgx-h100", chips=1), crowd) == 5
    assert sized(graph, pl.load_topology("hgx-h100"), crowd) == 8


@pytest.mark.parametrize(
    ("name", "goal", "missing"),
    [
        ("tpu-v5p", "energy_per_token_j", "power"),
        ("dmatrix-corsair", "usd_per_million_tokens", "price"),
        ("tpu-v5p", "tpot_s", ""),
    ],
)
def test_what_is_not_published_is_named(name, goal, missing):
    assert lacks(pl.load_topology(name), goal) == missing
