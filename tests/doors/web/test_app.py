"""The JSON API, asked as a client asks."""

import json

import pytest

from planner.doors import jobs as module
from planner.doors.jobs import Jobs
from planner.doors.keeping import Keep
from planner.doors.web.app import app_of
from tests.doors.web.desks import Here, held

testclient = pytest.importorskip("starlette.testclient")

SCORE = {"model": "qwen3-0.6b", "machine": "hgx-h100", "chips": 1}
PLAN = SCORE | {"users": 4, "output_tokens": 16}
TOKEN = "a-token-of-some-length"


@pytest.fixture
def started(monkeypatch):
    """Makes clients of an application whose desks are of a kind."""
    made = []

    def start(desk=Here, token=None, **options):
        monkeypatch.setattr(module, "Desk", desk)
        jobs = Jobs(Keep(":memory:"), **options)
        made.append(jobs)
        return testclient.TestClient(
            app_of(jobs, token=token), base_url="http://127.0.0.1:8000", follow_redirects=False
        )

    yield start
    for one in made:
        one.close()


def refused(answer, code):
    """The one sentence of a refusal."""
    assert answer.status_code == code
    sentence = answer.json()["error"]
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


def test_a_short_question_is_answered_at_once(started):
    client = started()
    answer = client.post("/api/score", json=SCORE)
    assert answer.status_code == 200
    job = answer.json()
    assert (job["status"], job["kind"]) == ("done", "score")
    assert job["answer"]["machine"] == "hgx-h100"
    again = client.get(f"/api/jobs/{job['id']}").json()
    assert again == job


@pytest.mark.slow
def test_a_plan_is_verified_reported_and_handed_out_as_a_certificate(started):
    client = started()
    job = client.post("/api/plan?wait=60", json=PLAN).json()
    assert job["answer"]["status"] == "optimal"
    assert job["answer"]["answer"] == job["id"]
    verified = client.post("/api/verify?wait=60", json={"answer": job["id"]}).json()
    assert verified["answer"]["confirmed"]
    file = client.get(f"/api/answers/{job['id']}/certificate")
    assert file.headers["content-disposition"] == 'attachment; filename="a1.certificate.json"'
    assert file.json()["objective"] == job["answer"]["objective"]["value"]
    page = client.get("/", params=PLAN | {"plain": "plan"})
    assert page.status_code == 200
    assert "it is proved that no plan" in page.text
    assert "/certificate" in page.text


def test_a_long_question_is_a_job_that_is_looked_at_and_cancelled(started):
    kind = held()
    client = started(kind)
    asked = client.post("/api/plan", json=PLAN)
    assert asked.status_code == 202
    place = asked.headers["location"]
    kind.begun.wait()
    assert client.get(place).json()["status"] == "running"
    cancelled = client.delete(place)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert "has ended: cancelled" in refused(client.delete(place), 409)


def test_beyond_the_limit_the_next_is_refused(started):
    kind = held()
    client = started(kind, workers=1, most_waiting=1)
    client.post("/api/plan", json=PLAN)
    kind.begun.wait()
    client.post("/api/plan", json=PLAN)
    assert "ask again in a minute" in refused(client.post("/api/plan", json=PLAN), 429)


@pytest.mark.parametrize(
    ("path", "question", "code", "words"),
    [
        ("score", SCORE | {"model": "../../secret"}, 422, "names a file"),
        ("score", SCORE | {"machine": "mine.toml"}, 422, "names a file"),
        ("score", SCORE | {"model": "qwen3-0.6x"}, 422, "nearest names are qwen3-0.6b"),
        ("score", SCORE | {"chips": 0}, 422, "chips must be at least 1, not 0"),
        ("score", [1], 422, "the question must be a table of fields"),
        ("score?wait=61", SCORE, 400, "wait must be a number of seconds between 0 and 60"),
        ("score?wait=nan", SCORE, 400, "wait must be"),
        ("scores", SCORE, 404, "there is no question called 'scores'"),
        ("verify?wait=9", {"answer": "a77"}, 422, "there is no answer 'a77' here"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_sentence(started, path, question, code, words):
    assert words in refused(started().post(f"/api/{path}", json=question), code)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"\xff", b'{"users": ' + b"9" * 5_000 + b"}"],
    ids=["empty", "open", "deep", "no text", "long number"],
)
def test_what_is_no_json_is_refused(started, body):
    answer = started().post(
        "/api/score", content=body, headers={"content-type": "application/json"}
    )
    assert "no JSON" in refused(answer, 400)


def test_a_name_that_stands_twice_is_refused_by_name(started):
    answer = started().post(
        "/api/score",
        content=b'{"model": "a", "machine": "b", "model": "c"}',
        headers={"content-type": "application/json"},
    )
    assert refused(answer, 400) == "the question: model is given twice; give it once"


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("size", {"machines": "hgx-h100:1, l4:1"}, "handles for verify and explain: "),
        ("compare", {"machines": "hgx-h100:1, l4:1"}, "the best tpot_s of each machine"),
        ("score", {"machine": "hgx-h100:2", "tensor_parallel": "2"}, "plan: TP2"),
        (
            "score_command",
            {"command": "vllm serve Qwen/Qwen3-0.6B", "machine": "hgx-h100:1"},
            "handles for verify and explain: ",
        ),
        ("audit", {"claims": "1"}, "1 claim"),
    ],
    ids=str,
)
def test_every_form_is_answered_without_scripts(started, kind, fields, words):
    lengths = {"model": "qwen3-0.6b", "prompt_tokens": "128", "output_tokens": "16"}
    page = started().get("/", params=lengths | fields | {"plain": kind})
    assert page.status_code == 200, page.text[-500:]
    assert words in page.text


def test_a_form_of_another_page_is_no_question(started):
    answer = started().post("/api/score", content=json.dumps(SCORE))
    assert "application/json" in refused(answer, 400)


def test_a_body_of_a_hundred_megabytes_is_refused(started):
    client = started()
    whole = client.post("/api/score", content=b" " * 2**21)
    assert "at most 1048576 bytes" in refused(whole, 413)
    said = {"content-type": "application/json", "content-length": "100000000"}
    assert "at most 1048576 bytes" in refused(client.post("/api/score", headers=said), 413)
    # Sent in pieces it says no length.
    pieces = client.post(
        "/api/score",
        content=iter([b" " * 2**18] * 400),
        headers={"content-type": "application/json"},
    )
    assert "at most 1048576 bytes" in refused(pieces, 413)


def test_foreign_pages_and_foreign_names_are_refused(started):
    client = started()
    foreign = {"origin": "http://evil.example"}
    assert "another site's page" in refused(
        client.post("/api/score", json=SCORE, headers=foreign), 403
    )
    rebound = {"host": "evil.example:8000"}
    assert "another machine" in refused(client.get("/", headers=rebound), 403)


def test_without_the_right_token_nobody_comes_in(started):
    client = started(token=TOKEN)
    for path in ("/", "/docs", "/openapi.json", "/page/page.js", "/api/jobs/a1"):
        assert "a token is needed" in refused(client.get(path), 401)
    wrong = {"authorization": "Bearer wrong"}
    assert "the token is wrong" in refused(client.get("/", headers=wrong), 403)
    right = {"authorization": f"Bearer {TOKEN}"}
    assert client.post("/api/names", json={"kind": "software"}, headers=right).status_code == 200


def test_a_token_in_the_address_becomes_a_cookie(started):
    client = started(token=TOKEN)
    answer = client.get("/%2Fevil.example/", params={"token": TOKEN, "model": "x"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/evil.example/?model=x"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200


def test_nothing_is_there_but_what_is(started):
    client = started()
    for path in ("/nothing", "/page/..%2fapp.py", "/page/page.html", "/api/answers/a1/certificate",
                 "/api/answers/..%2fx/certificate", "/api/jobs/x"):  # fmt: skip
        refused(client.get(path), 404)
    assert "cannot be done here" in refused(client.put("/api/score"), 405)


@pytest.mark.slow
def test_pages_and_documents_are_there_under_a_strict_policy(started):
    client = started()
    for path, words in (("/", "<form"), ("/docs", "PlanQuestion"), ("/page/page.css", "color-scheme"),
                        ("/page/page.js", "fetch("), ("/openapi.json", "3.1.0")):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200
        assert words in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_without_scripts_a_refusal_stands_in_the_page(started):
    client = started()
    page = client.get("/", params={"model": "qwen3-0.6b", "machine": "a/b", "plain": "plan"})
    assert page.status_code == 422
    assert "names a file" in page.text
    assert 'value="qwen3-0.6b"' in page.text
    twice = client.get("/?model=a&model=b")
    assert (twice.status_code, "stands twice" in twice.text) == (400, True)
    assert client.get("/?job=a9").status_code == 404
