"""Jobs on a disk."""

import sqlite3

import pytest

from planner.doors import keeping
from planner.doors.answers import NamesAnswer
from planner.doors.keeping import Keep
from planner.doors.questions import NamesQuestion
from planner.errors import InputError

QUESTION = NamesQuestion(kind="software", time_limit_s=7.0)
ANSWER = NamesAnswer(summary="vllm", names=(("vllm", ""),))


def test_a_job_is_kept_with_its_question_and_its_answer():
    keep = Keep(":memory:")
    number = keep.add("names", QUESTION)
    waiting = keep.job(number)
    assert (waiting.id, waiting.kind, waiting.status) == ("a1", "names", "waiting")
    assert (waiting.question["kind"], waiting.time_limit_s) == ("software", 7.0)
    assert waiting.is_open
    keep.begin(number)
    assert keep.job(number).status == "running"
    keep.end(number, ANSWER, {}, 0.5)
    done = keep.job(number)
    assert (done.status, done.answer["summary"], done.elapsed_s) == ("done", "vllm", 0.5)
    assert not done.is_open
    assert keep.job(2) is None
    assert keep.result("a1") is None


def test_what_was_answered_outlives_the_server_and_what_was_not_is_said_to_be_lost(tmp_path):
    file = tmp_path / "deep" / "kept.sqlite"
    keep = Keep(file)
    done, open_one = keep.add("names", QUESTION), keep.add("names", QUESTION)
    keep.end(done, ANSWER, {}, 0.5)
    keep.close()
    again = Keep(file)
    assert again.job(done).answer == {"summary": "vllm", "names": [["vllm", ""]]}
    lost = again.job(open_one)
    assert (lost.status, lost.code) == ("lost", 409)
    assert lost.error == "the server ended before this was answered; ask again"
    assert again.add("names", QUESTION) == 3
    again.close()


def test_a_second_server_does_not_take_the_file_of_the_first(tmp_path):
    file = tmp_path / "kept.sqlite"
    first = Keep(file)
    with pytest.raises(InputError, match="another server has it; name another file with --keep"):
        Keep(file)
    first.close()
    Keep(file).close()


def test_files_of_others_are_left_alone(tmp_path):
    text, theirs = tmp_path / "notes.txt", tmp_path / "theirs.sqlite"
    text.write_text("milk, eggs and a good deal of bread\n" * 20, encoding="utf-8")
    with sqlite3.connect(theirs) as opened:
        opened.execute("CREATE TABLE jobs (name TEXT)")
    opened.close()
    before = text.read_bytes(), theirs.read_bytes()
    for file in (text, theirs, tmp_path):
        with pytest.raises(InputError, match="cannot keep answers"):
            Keep(file)
    assert (text.read_bytes(), theirs.read_bytes()) == before


def test_the_oldest_answers_go_first_and_open_jobs_never(monkeypatch):
    monkeypatch.setattr(keeping, "MOST_KEPT", 2)
    keep = Keep(":memory:")
    open_one = keep.add("names", QUESTION)
    for _ in range(4):
        keep.end(keep.add("names", QUESTION), ANSWER, {}, 0.1)
    kept = [number for number in range(1, 6) if keep.job(number)]
    assert kept == [open_one, 4, 5]
