"""Who may come in."""

import pytest

from planner.doors.web import gate
from planner.doors.web.gate import (
    Refused,
    check_host,
    check_length,
    check_origin,
    given_token,
    is_loopback,
)

HERE = "127.0.0.1:8000"


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:1", "[::1]:8000", "127.0.0.2"])
def test_this_machine_has_many_names(host):
    check_host(host, any_name=False)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "192.168.0.7", "0.0.0.0", "[::1"]
)
def test_names_that_were_made_to_point_here_are_refused(host):
    with pytest.raises(Refused, match="Host"):
        check_host(host, any_name=False)


def test_with_a_token_any_name_will_do_but_none_will_not():
    check_host("planner.example:80", any_name=True)
    with pytest.raises(Refused) as refusal:
        check_host("", any_name=True)
    assert refusal.value.code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": f"http://{HERE}"},
        {"origin": f"https://{HERE}"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
    ],
    ids=str,
)
def test_the_page_itself_and_links_to_it_may_come_in(headers):
    check_origin({"host": HERE} | headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": f"http://{HERE}.evil.example"},
        {"origin": "http://[broken"},
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"},
    ],
    ids=str,
)
def test_pages_of_others_may_not(headers):
    with pytest.raises(Refused, match="another site's page") as refusal:
        check_origin({"host": HERE} | headers)
    assert refusal.value.code == 403


def test_a_body_is_refused_by_its_length_before_it_is_read():
    check_length(str(gate.MOST_BYTES))
    for given, code in ((str(gate.MOST_BYTES + 1), 413), ("9" * 40, 413), ("many", 400)):
        with pytest.raises(Refused) as refusal:
            check_length(given)
        assert refusal.value.code == code


@pytest.mark.parametrize(
    ("query", "headers", "token"),
    [
        (b"", {}, None),
        (b"token=a", {}, "a"),
        (b"", {"cookie": "planner_token=b; other=c"}, "b"),
        (b"token=a", {"authorization": "Bearer d", "cookie": "planner_token=b"}, "d"),
        (b"", {"authorization": "Basic d"}, None),
    ],
    ids=str,
)
def test_a_token_comes_in_a_header_an_address_or_a_cookie(query, headers, token):
    assert given_token({"query_string": query}, headers) == token


def test_only_this_machine_is_this_machine():
    assert [is_loopback(one) for one in ("127.0.0.1", "::1", "0.0.0.0", "host")] == [
        True,
        True,
        False,
        False,
    ]
