"""Questions that wait their turn."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

import planner as pl
from planner.doors import desk as module
from planner.doors.desk import MOST_KEPT, BusyError, Desk, LeftError
from planner.doors.questions import (
    ExplainQuestion,
    NamesQuestion,
    PlanQuestion,
    VerifyQuestion,
)
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.studies.sweeps.workers import LostError

SMALL = {"model": "qwen3-0.6b", "prompt_tokens": 128, "output_tokens": 16}
PLAN = PlanQuestion(**SMALL, machine="hgx-h100", chips=1, users=4)


@pytest.fixture(scope="module")
def desk():
    made = Desk()
    yield made
    made.close()


@pytest.mark.slow
def test_a_later_question_knows_an_earlier_answer(desk):
    answer = desk.ask(PLAN)
    assert desk.ask(VerifyQuestion(answer=answer.answer)).confirmed
    assert desk.ask(ExplainQuestion(answer=answer.answer)).binding
    assert desk.ask(PLAN).answer != answer.answer


@pytest.mark.slow
def test_refusals_come_back_as_what_they_are(desk):
    with pytest.raises(InfeasibleError, match="does not fit"):
        desk.ask(PlanQuestion(model="llama-3.1-70b", machine="hgx-h100", chips=1))
    with pytest.raises(InputError, match="no answer 'a12345'"):
        desk.ask(VerifyQuestion(answer="a12345"))


@pytest.mark.slow
def test_a_question_that_is_late_is_ended_and_the_next_is_answered():
    desk = Desk(grace_s=0.0)
    try:
        with pytest.raises(NoPlanFoundError, match="nothing is proved"):
            desk.ask(PLAN.replace(time_limit_s=1e-6))
        assert desk.ask(NamesQuestion(kind="software", time_limit_s=120.0)).names
    finally:
        desk.close()


@pytest.mark.slow
def test_a_warm_desk_answers_for_a_caller_who_numbers_and_keeps():
    desk = Desk()
    try:
        desk.warm()
        process = desk._processes
        found = desk.work(PLAN, "a9")
        assert (found.answer.answer, list(found.results)) == ("a9", ["a9"])
        assert desk.work(VerifyQuestion(answer="a9"), "a10", found.results["a9"]).answer.confirmed
        assert desk._processes is process
    finally:
        desk.close()


def test_what_keeps_a_desk_from_being_warm_is_told_to_whoever_asks(monkeypatch):
    stub = Stub(lambda: LostError("its process ended with status -9"))
    monkeypatch.setattr(module, "Processes", lambda count, hear: stub)
    desk = Desk()
    desk.warm()
    with pytest.raises(InputError, match="died, perhaps for want of memory"):
        desk.work(PLAN, "a1")


def test_beyond_a_number_of_questions_the_next_is_refused():
    desk = Desk(most_waiting=1)
    desk._room.acquire()
    with pytest.raises(BusyError, match="too many questions wait"):
        desk.ask(PLAN)


class Stub:
    """In place of processes."""

    def __init__(self, answers):
        self.answers = answers
        self.closed = False

    def submit(self, work, question, handle, earlier):
        return self

    def result(self, timeout=None):
        found = self.answers()
        if isinstance(found, Exception):
            raise found
        return found

    def shutdown(self, wait, cancel_futures):
        self.closed = True


@pytest.mark.slow
def test_a_process_that_dies_is_told_in_a_sentence():
    desk = Desk()
    stub = desk._processes = Stub(lambda: LostError("its process ended with status -9"))
    with pytest.raises(InputError, match="died, perhaps for want of memory"):
        desk.ask(PLAN)
    assert stub.closed
    assert desk._processes is None


class Held:
    """Processes that work until they are ended."""

    def __init__(self):
        self.begun, self.ended = Event(), Event()

    def submit(self, work, question, handle, earlier):
        self.begun.set()
        return self

    def result(self, timeout):
        self.ended.wait()
        raise LostError("its process ended with status -9")

    def shutdown(self, wait, cancel_futures):
        self.ended.set()


def test_a_question_that_was_left_is_worked_on_no_more():
    desk = Desk()
    held = desk._processes = Held()
    left, waits = PLAN.replace(), PLAN.replace()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(desk.ask, left)
        held.begun.wait()
        second = threads.submit(desk.ask, waits)
        desk.leave(waits)  # before its turn: it is never begun
        desk.leave(left)
        for one in (first, second):
            with pytest.raises(LeftError):
                one.result()
    assert desk._processes is None
    assert desk._left == []


@pytest.mark.slow
def test_the_oldest_results_go_first():
    from planner.doors.asking import Answered, answered

    graph, topology = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100", chips=1)
    result = answered(PLAN, "a1").results["a1"]
    assert (result.graph.name, result.topology.chips) == (graph.name, topology.chips)
    numbers = iter(range(1, 100))
    desk = Desk()
    names = answered(NamesQuestion(kind="software"), "").answer
    desk._processes = Stub(lambda: Answered(names, {f"a{next(numbers)}": result}))
    for _ in range(MOST_KEPT + 2):
        desk.ask(PLAN)
    assert list(desk._kept) == [f"a{number}" for number in range(3, MOST_KEPT + 3)]
