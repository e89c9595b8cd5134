"""Two machines under one agreement: what is proved, and what is not."""

import pytest

import planner as pl
from planner.studies.advantage import best_plans, roots
from planner.studies.advantage.agreements import agreement_of
from planner.studies.advantage.crossovers import ONE_AT_A_TIME, crossover
from planner.studies.advantage.races import Race
from planner.studies.advantage.terms import Terms
from tests.lanes import EVERYTHING


@pytest.mark.slow
def test_a_root_found_among_uniform_plans_is_that_of_all_plans(article, request):
    if not EVERYTHING:
        request.getfixturevalue("few_sizes")
    proved = crossover("article-lpu", "article-h100", proof_time_s=None)
    assert proved.proved
    assert all(all(row.proved) for row in proved.rows)
    assert article.proved
    assert article.params == pytest.approx(proved.params, rel=roots.CLOSE)


@pytest.mark.slow
def test_a_proof_that_does_not_come_in_time_is_said(few_sizes, monkeypatch):
    def never(*args, **options):
        raise pl.NoPlanFoundError("no time")

    monkeypatch.setattr(best_plans, "partition", never)
    made = crossover("article-lpu", "article-h100")
    assert not made.proved
    assert [one.status for one in made.proofs] == ["uniform plans alone"] * 2
    assert "article-h100: best uniform plan, not proved best of all" in str(made)
    assert made.params == pytest.approx(203e9, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("proof_time_s", [1.0, None])
def test_what_no_plan_of_the_solver_is_stands_on_uniform_plans_and_says_so(few_sizes, proof_time_s):
    made = crossover("article-lpu", "article-h100", utilisation=0.5, proof_time_s=proof_time_s)
    assert not made.proved
    assert [one.status for one in made.proofs] == ["uniform plans alone"] * 2
    # Both draw as much when they wait, so both pay twice.
    assert made.params == pytest.approx(203e9, rel=0.02)


@pytest.mark.slow
def test_a_figure_is_moved_under_the_terms_too(article, few_sizes):
    made = crossover("article-lpu", "article-h100", utilisation=0.5)
    for path in ("article-lpu: power.chip_w", "article-h100: power.chip_w"):
        slopes = [
            next(one.slope for one in found.sensitivities if one.path == path)
            for found in (article, made)
        ]
        assert slopes[1] == pytest.approx(slopes[0], rel=0.02)


@pytest.mark.slow
def test_no_faster_memory_saves_joules_of_copies_that_wait_at_full_power():
    def paths(**fields):
        asked = agreement_of("energy_per_token_j", "dense", ONE_AT_A_TIME, None, fields, None)
        machines = [pl.load_topology(one) for one in ("article-lpu", "article-h100")]
        effects = Race(machines, asked, 1.0).explained(7e10, (7e10, 2e11))["sensitivities"]
        return [one.path for one in effects if one.path.startswith("article-h100")]

    assert "article-h100: chip.memory[0].bandwidth_bytes_per_s" in paths()
    # One copy, busy for a part of the time, draws 700 W a chip however fast it is.
    assert paths(requests_per_s=0.01) == ["article-h100: power.chip_w"]


@pytest.mark.slow
def test_prompts_of_a_pool_are_a_cause_of_their_own(monkeypatch):
    monkeypatch.setattr(roots, "SIZES", (8e9, 1.2e10))
    made = crossover("apple-m3-ultra", "hgx-h100", terms=Terms(most_users=1, pools=True))
    (prompts,) = [one for one in made.terms if one.cause == "prompts"]
    assert prompts.topology == "hgx-h100"
    assert 0 < prompts.before < prompts.after
    spent = sum(one.before for one in made.terms if one.topology == "hgx-h100")
    assert spent == pytest.approx(made.rows[0].second)
    assert "two pools" in made.under
