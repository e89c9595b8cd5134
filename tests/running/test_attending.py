"""Tests of the mirror of attending: a cache written in place, and one product for a token."""

import pytest

from planner.running.attending import NAME, Cache, Window, registered


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_window_writes_behind_what_was_seen(torch):
    cache = Cache(torch, [3], (2, 1, 4, 2))
    assert cache.held_bytes == 2 * 2 * 4 * 2 * 4
    one, two = torch.ones(1, 1, 2, 2), 2 * torch.ones(1, 1, 1, 2)
    Window(cache, 1, 2, 0).update(one, one, 3)
    keys, _ = Window(cache, 1, 2, 2).update(two, two, 3)
    assert keys[0, 0, :, 0].tolist() == [1, 1, 2]
    assert not cache.keys[3][0].any()


def test_one_token_attends_as_the_last_of_many(torch):
    functions = {}
    known = type("Known", (), {"register": staticmethod(functions.__setitem__)})
    assert registered(torch, known) == NAME
    attend = functions[NAME]
    torch.manual_seed(0)
    query, keys, values = (torch.randn(2, heads, 5, 4) for heads in (6, 2, 2))
    many, _ = attend(None, query, keys, values, None, scaling=0.5)
    one, _ = attend(None, query[:, :, -1:], keys, values, None, scaling=0.5)
    assert torch.allclose(many[:, -1:], one, atol=1e-5)
