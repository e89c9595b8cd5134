"""The crossover of the article's premises, found once for all tests of this room."""

import pytest

from planner.studies.advantage import roots
from planner.studies.advantage.crossings import Crossover
from planner.studies.advantage.crossovers import crossover


@pytest.fixture
def few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes, on both sides of the article's root."""
    monkeypatch.setattr(roots, "SIZES", roots.SIZES[8:14:2])


@pytest.fixture(scope="session")
def article() -> Crossover:
    """Of the article's LPU and its H100."""
    return crossover("article-lpu", "article-h100")
