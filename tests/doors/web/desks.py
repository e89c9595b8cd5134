"""Desks for tests: answers without processes."""

from threading import Event

from planner.doors.answers import NamesAnswer
from planner.doors.asking import Answered, answered
from planner.doors.desk import LeftError


class Here:
    """Answers in the thread that asks."""

    def __init__(self, *, grace_s=0.0):
        self.warmed = 0
        self.so_far = None

    def warm(self):
        self.warmed += 1

    def work(self, question, handle, earlier=None):
        return answered(question, handle, earlier)

    def leave(self, question):
        """Too late."""

    def close(self):
        """Nothing to end."""


class Echo(Here):
    """Answers with the model that it was asked for, its users and the handle."""

    def work(self, question, handle, earlier=None):
        words = f"{question.model} {question.users} {handle}"
        return Answered(NamesAnswer(summary=words, names=()), {})


class Held(Here):
    """Works until it is left or let go."""

    begun: Event
    ended: Event

    def work(self, question, handle, earlier=None):
        self.begun.set()
        self.ended.wait()
        raise LeftError("nobody waits for this answer")

    def leave(self, question):
        self.ended.set()

    def close(self):
        self.ended.set()


def held():
    """A kind of desk with events of its own."""
    return type("HeldOnce", (Held,), {"begun": Event(), "ended": Event()})
