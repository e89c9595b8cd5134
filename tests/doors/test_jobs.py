"""Questions of many at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from planner.doors import jobs as module
from planner.doors.answers import SoFar
from planner.doors.desk import BusyError, LeftError
from planner.doors.jobs import Jobs, UnknownJobError, refusal_of
from planner.doors.keeping import Keep
from planner.doors.questions import NamesQuestion, PlanQuestion, ScoreQuestion
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, PlannerError
from tests.doors.web.desks import Echo, Here, held

PLAN = PlanQuestion(model="qwen3-0.6b", machine="hgx-h100", chips=1)
SCORE = ScoreQuestion(model="qwen3-0.6b", machine="hgx-h100", chips=1)


@pytest.fixture
def started(monkeypatch):
    """Makes jobs at desks of a kind."""
    made = []

    def start(desk, **options):
        monkeypatch.setattr(module, "Desk", desk)
        made.append(Jobs(Keep(":memory:"), **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


def ended(jobs, name):
    pause = Event()
    while (job := jobs.job(name)).is_open:
        pause.wait(0.02)
    return job


@pytest.mark.slow
def test_fifty_questions_at_once_neither_mix_nor_starve(started):
    jobs = started(Echo)

    def asked(number):
        job = jobs.ask("plan", PLAN.replace(users=number))
        return number, job.id

    with ThreadPoolExecutor(50) as threads:
        found = list(threads.map(asked, range(1, 51)))
    assert len({name for _, name in found}) == 50
    for number, name in found:
        job = ended(jobs, name)
        assert job.answer["summary"] == f"qwen3-0.6b {number} {name}"


@pytest.mark.slow
def test_beyond_a_number_the_next_is_refused_and_short_questions_go_on(started):
    kind = held()
    jobs = started(kind, workers=1, most_waiting=2)
    first = jobs.ask("plan", PLAN)
    kind.begun.wait()
    waits = [jobs.ask("plan", PLAN) for _ in range(2)]
    assert [jobs.job(one.id).ahead for one in waits] == [0, 1]
    assert jobs.job(first.id).status == "running"
    with pytest.raises(BusyError, match="2 questions wait here already; ask again in a minute"):
        jobs.ask("plan", PLAN)
    assert jobs.ask("score", SCORE).status in ("waiting", "running")


def test_a_job_is_cancelled_before_its_turn_and_in_it(started):
    kind = held()
    jobs = started(kind, workers=1)
    running = jobs.ask("plan", PLAN)
    kind.begun.wait()
    waiting = jobs.ask("plan", PLAN)
    gone = jobs.cancel(waiting.id)
    assert (gone.status, gone.code, gone.error) == ("cancelled", 409, module.CANCELLED)
    jobs.cancel(running.id)
    assert ended(jobs, running.id).status == "cancelled"
    assert jobs.cancel(running.id).status == "cancelled"


def test_refusals_and_faults_are_kept_as_sentences(started):
    class Failing(Here):
        def work(self, question, handle, earlier=None):
            raise ZeroDivisionError("a secret")

    jobs = started(Here)
    wrong = jobs.ask("score", SCORE.replace(model="qwen3-0.6x"))
    job = ended(jobs, wrong.id)
    assert (job.status, job.code) == ("refused", 422)
    assert job.error.startswith("there is no model called 'qwen3-0.6x'")
    failing = started(Failing)
    job = ended(failing, failing.ask("names", NamesQuestion(kind="fields")).id)
    assert job.code == 500
    assert "a fault of the planner" in job.error
    assert "secret" not in job.error


@pytest.mark.parametrize("name", ["a2", "b1", "a", "", "a-1", "a1.1", "a" + "9" * 30, "a²"])
def test_there_is_no_such_job(started, name):
    jobs = started(Here)
    with pytest.raises(UnknownJobError, match="there is no job"):
        jobs.job(name)
    with pytest.raises(UnknownJobError, match="there is no answer"):
        jobs.result(name)


INFEASIBLE = InfeasibleError("it does not fit", resource="memory", demand=2, capacity=1)


@pytest.mark.parametrize(
    ("error", "code", "begins"),
    [
        (INFEASIBLE, 409, "infeasible, proved: it does not fit"),
        (NoPlanFoundError("none"), 409, "no plan found in time, nothing is proved: none"),
        (BusyError("many"), 429, "many"),
        (LeftError(), 409, "the question was cancelled"),
        (UnknownJobError("no job"), 404, "no job"),
        (InputError("users: too many"), 422, "users: too many"),
        (PlannerError("other"), 409, "other"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_each_refusal_has_its_number(error, code, begins):
    assert refusal_of(error) == (code, begins)


def test_desks_are_warm_before_anybody_asks(started):
    warmed = []

    class Warmed(Here):
        def warm(self):
            warmed.append(self)

    jobs = started(Warmed, workers=3)
    jobs.wait_until_warm()
    assert len(set(map(id, warmed))) == 4


def test_a_job_under_way_says_how_far_it_is(started):
    kind = held()
    jobs = started(kind, workers=1)
    job = jobs.ask("plan", PLAN)
    kind.begun.wait()
    desk = jobs._open[int(job.id[1:])].desk
    assert jobs.job(job.id).so_far is None
    desk.so_far = SoFar(field="tpot_s", objective=0.02, bound=0.018, gap=0.1, text="gap 10 %")
    assert jobs.job(job.id).so_far.gap == 0.1
    jobs.cancel(job.id)
    assert ended(jobs, job.id).so_far is None
