"""The clock is kept: whenever it runs out, or Ctrl-C comes, there is an answer whose bound holds, or
a NoPlanFoundError; memory beyond what is allowed is refused in a sentence."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import pytest

import planner as pl
from planner import allowance, studies
from planner.errors import TimeUpError, TooLargeError
from tests.clock import ctrl_c, ticking
from tests.fuzz.absurd import nouns
from tests.lanes import spread

TICK_S = 0.01
"""So that there are some looks beyond a limit, too."""
LOOKS = (1, 2, 5, 11, 23, 47, 97, 211, 450, 1200)
"""After which time is up, or Ctrl-C comes."""

# ── Of its own ────────────────────────────────────────────────────────────────────────────────────


def test_who_is_allowed_nothing_in_particular_may_go_on():
    allowance.look()
    assert allowance.left_s() is None
    assert not allowance.is_up()
    assert not allowance.is_interrupted()


def test_a_look_when_time_is_up_is_refused():
    with ticking(1.0), allowance.allowed_for(2.5):
        allowance.look()
        allowance.look()
        with pytest.raises(TimeUpError, match="time ran out before any plan was found"):
            allowance.look()


def test_a_part_has_no_more_time_than_the_whole():
    with ticking(0.0), allowance.allowed_for(2.0):
        with allowance.allowed_for(5.0):
            assert allowance.left_s() == 2.0
        with allowance.until(1.5):
            assert allowance.left_s() == 1.5
        assert allowance.left_s() == 2.0


def test_ctrl_c_ends_the_whole_of_which_it_stopped_a_part():
    with allowance.allowed_for():
        with allowance.allowed_for():
            allowance.end()
            assert allowance.is_interrupted()
        assert allowance.is_up()
        assert allowance.left_s() == 0.0
        with pytest.raises(TimeUpError) as caught:
            allowance.look()
    assert caught.value.interrupted
    assert not allowance.is_up()


def test_beyond_the_limit_a_little_is_granted():
    with ticking(0.0), allowance.allowed_for(0.0):
        assert allowance.is_up()
        with allowance.beyond():
            assert allowance.left_s() == allowance.BEYOND_S
        with allowance.freely():
            assert allowance.left_s() is None
        with allowance.apart(3.0):
            assert allowance.left_s() == 3.0


def test_a_part_of_the_time_is_a_share_of_what_is_left_and_no_more_than_so_much():
    with ticking(0.0), allowance.allowed_for(2.0):
        with allowance.in_part(0.5, 0.1) as is_limited:
            assert is_limited
            assert allowance.left_s() == 0.2
        with allowance.in_part(0.5, 0.9):
            assert allowance.left_s() == 0.5
        assert allowance.left_s() == 2.0
    with allowance.in_part(0.5, 0.1) as is_limited:
        assert not is_limited
        assert allowance.left_s() is None


def test_a_verb_takes_its_limits_from_its_arguments():
    @allowance.allowing
    def verb(*, time_limit_s: float | None = 7.0, memory_limit_bytes: float | None = None) -> Any:
        return allowance.left_s(), allowance.memory_limit_bytes()

    with ticking(0.0):
        assert verb() == (7.0, allowance.usual_memory_bytes())
        assert verb(time_limit_s=1.0, memory_limit_bytes=5e8) == (1.0, 5e8)
        assert verb(time_limit_s=None)[0] is None


def test_ctrl_c_in_a_verb_that_knows_nothing_yet_is_no_plan_found():
    @allowance.allowing
    def verb() -> None:
        raise KeyboardInterrupt

    with pytest.raises(pl.NoPlanFoundError, match="Ctrl-C came before any plan was found") as error:
        verb()
    assert error.value.interrupted


def test_more_memory_than_is_allowed_is_refused_with_a_remedy():
    with allowance.allowed_for(memory_limit_bytes=2e9):
        allowance.ask_for_bytes(2e9, "This", "do that")
        with pytest.raises(TooLargeError) as caught:
            allowance.ask_for_bytes(3.25e9, "This", "do that")
    assert str(caught.value) == (
        "This would take about 3.25 GB of memory, and 2 GB are allowed: do that, or allow more"
        " (memory_limit_bytes, --memory-limit)"
    )


# ── Of every verb ─────────────────────────────────────────────────────────────────────────────────

Asked = Callable[..., Any]


@functools.cache
def questions() -> dict[str, Asked]:
    """A small question of each verb, which takes limits."""
    at = nouns()
    work = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)
    stream = work.replace(batch_size=None, requests_per_s=2.0, arrivals="poisson")
    free = work.replace(batch_size=None)
    three = at.graph, at.machine
    pools = {"prefill": at.machine, "decode": at.machine, "link": at.link}
    halves = {"attention": at.machine, "experts": at.machine, "link": at.link}
    promised = {"ttft_p99_s": 10.0}
    found = pl.partition(*three, work, minimize="tpot_s", limits={"request_s": 1e3})
    certificate = found.certificate()

    def partition(workload: pl.Workload, **more: Any) -> Asked:
        asked = more if {"minimize", "maximize"} & set(more) else {"minimize": "tpot_s", **more}
        return functools.partial(pl.partition, *three, workload, **asked)

    return {
        "engine": partition(work),
        "engine, open batch": partition(free, minimize="usd_per_million_tokens"),
        "any": partition(work, space="any"),
        "any, open batch": partition(free, space="any", maximize="tokens_per_s"),
        "at a rate": partition(stream, minimize="chips", limits=promised),
        "of clients": partition(work, limits=promised),
        "greatest rate": partition(
            stream.replace(requests_per_s=None), maximize="tokens_per_s", limits=promised
        ),
        "least percentile": partition(stream, minimize="ttft_p99_s"),
        "cp-sat": partition(work, solver="cp-sat"),
        "excluded": partition(work, exclude=(1,)),
        "out of reach": partition(work, limits={"request_s": 1e-6}),
        "front": functools.partial(pl.pareto, *three, free, fields=("tpot_s", "tokens_per_s")),
        "front, any": functools.partial(
            pl.pareto, *three, work, fields=("tpot_s", "ttft_s"), space="any"
        ),
        "fewest chips": functools.partial(
            pl.fewest_chips, at.graph, [at.machine], stream, limits=promised
        ),
        "pools": functools.partial(
            pl.disaggregate, at.graph, free, maximize="tokens_per_s", **pools
        ),
        "halves": functools.partial(
            pl.disaggregate_attention, at.graph, at.decoding, minimize="tpot_s", **halves
        ),
        "cluster": functools.partial(
            pl.partition_cluster, at.graph, at.cluster, work, minimize="tpot_s"
        ),
        "cluster, any": functools.partial(
            pl.partition_cluster, at.graph, at.cluster, work, minimize="tpot_s", space="any"
        ),
        "fleet": functools.partial(pl.partition_fleet, at.graph, at.cluster, free),
        "replanned": functools.partial(pl.replan, found, lost=[0]),
        "verified": functools.partial(pl.verify, certificate),
        "why": found.why,
        "near misses": found.near_misses,
        "diffusion": functools.partial(
            pl.partition,
            pl.load_model("stable-diffusion-xl"),
            pl.load_topology("hgx-h100", chips=4),
            pl.Workload(batch_size=4),
            minimize="image_s",
        ),
        "operators": functools.partial(pl.partition_operators, at.operators),
        "operators, latency": functools.partial(
            pl.partition_operators, at.operators, mode="latency"
        ),
    }


NAMES = (
    "engine", "engine, open batch", "any", "any, open batch", "at a rate", "of clients",
    "greatest rate", "least percentile", "cp-sat", "excluded", "out of reach", "front",
    "front, any", "fewest chips", "pools", "halves", "cluster", "cluster, any", "fleet",
    "replanned", "verified", "why", "near misses", "diffusion", "operators", "operators, latency",
)  # fmt: skip
SOON = (
    "engine", "any", "at a rate", "of clients", "greatest rate", "least percentile", "cp-sat",
    "excluded", "fewest chips", "pools", "cluster", "cluster, any", "fleet", "diffusion",
)  # fmt: skip
"""Of which a plan is there from almost the first moment on."""


@functools.cache
def whole(name: str) -> Any:
    """The answer to a question that has all the time it wants."""
    try:
        return questions()[name]()
    except pl.InfeasibleError as error:
        return error


def check(answer: Any, truth: Any) -> None:
    """An answer claims no more than what is true."""
    if isinstance(truth, pl.InfeasibleError):
        raise AssertionError("there is no plan, and one was found")
    if hasattr(answer, "bound") and hasattr(answer, "direction"):
        sign = 1 if answer.direction == "minimize" else -1
        far = 1e-3 * abs(truth.objective)  # as good are those within a thousandth
        assert sign * answer.bound <= sign * truth.objective + 1e-9 * abs(truth.objective)
        assert sign * answer.objective >= sign * truth.objective - far
        assert answer.status == "feasible" or answer.gap <= 1e-3
    if hasattr(answer, "checked_bound"):
        assert answer.confirmed or answer.checked_bound is None or answer.is_late
    for row in getattr(answer, "machines", ()):
        (known,) = (one for one in truth.machines if one.machine == row.machine)
        assert known.result is None or row.bound_chips <= known.result.score.chips
    if hasattr(answer, "members"):
        assert answer.status == "partial" or len(answer.members) == len(truth.members)
        assert answer.members


def answered(name: str, cut: contextlib.AbstractContextManager[Any], **limits: Any) -> Any:
    """What a question that is cut off is answered, None where that is nothing."""
    asked, truth = questions()[name], whole(name)
    try:
        with cut:
            answer = asked(**limits)
    except pl.NoPlanFoundError:
        return None
    except pl.InfeasibleError:
        assert isinstance(truth, pl.InfeasibleError)
        return None
    check(answer, truth)
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_clock_that_runs_out_leaves_an_answer_that_holds(name):
    for looks in spread(LOOKS, 3):
        answered(name, ticking(TICK_S), time_limit_s=looks * TICK_S)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_at_any_look_leaves_an_answer_that_holds(name):
    for number in spread(LOOKS, 2):
        answered(name, ctrl_c(number))


@pytest.mark.slow
@pytest.mark.parametrize("name", SOON)
def test_there_is_a_plan_long_before_a_proof(name):
    answer = answered(name, ticking(TICK_S), time_limit_s=60 * TICK_S)
    assert answer is not None


@pytest.mark.slow
def test_an_audit_that_is_cut_off_has_the_rows_that_it_has():
    with ticking(TICK_S):
        made = studies.audit(time_limit_s=50 * TICK_S)
    assert not made.complete


def test_each_cell_of_a_sweep_has_a_clock_of_its_own():
    at = nouns()
    cells = [(at.graph, at.machine, pl.Workload(batch_size=batch)) for batch in (1, 2)]
    with ticking(TICK_S):
        made = studies.sweep(
            cells=cells, file=None, processes=1, progress=False, time_limit_s=60 * TICK_S
        )
    assert [row.value > 0 for row in made.rows] == [True, True]
