"""Studies: many plans, one question. `planner.studies.crossover(…)` and its neighbours load when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.studies.audits import Audit, audit
    from planner.studies.claims import Claim, article_claims, read_claims
    from planner.studies.crossovers import Crossover, crossover
    from planner.studies.fades import Fading, fading
    from planner.studies.family import dense_family, dense_shape
    from planner.studies.findings import Finding
    from planner.studies.scalings import Scaling, scaling

__all__ = [
    "Audit", "Claim", "Crossover", "Fading", "Finding", "Scaling", "article_claims", "audit", "crossover", "dense_family",
    "dense_shape", "fading", "read_claims", "scaling",
]  # fmt: skip

_HOME_OF = {
    "Audit": "audits",
    "audit": "audits",
    "Claim": "claims",
    "article_claims": "claims",
    "read_claims": "claims",
    "Finding": "findings",
    "Scaling": "scalings",
    "scaling": "scalings",
    "Crossover": "crossovers",
    "crossover": "crossovers",
    "Fading": "fades",
    "fading": "fades",
    "dense_family": "family",
    "dense_shape": "family",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'planner.studies' has no attribute {name!r}")
    return getattr(import_module(f"planner.studies.{_HOME_OF[name]}"), name)
