"""Studies: many plans, one question. `planner.studies.crossover(…)` and its neighbours load when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.studies.crossovers import Crossover, crossover
    from planner.studies.fades import Fading, fading
    from planner.studies.family import dense_family, dense_shape, moe_family, moe_shape
    from planner.studies.maps import AdvantageMap, MapGrids, advantage_map, map_grids
    from planner.studies.proofs import ProofCourse, proof_course

__all__ = [
    "AdvantageMap",
    "Crossover",
    "Fading",
    "MapGrids",
    "ProofCourse",
    "advantage_map",
    "crossover",
    "dense_family",
    "dense_shape",
    "fading",
    "map_grids",
    "moe_family",
    "moe_shape",
    "proof_course",
]

_HOME_OF = {
    "Crossover": "crossovers",
    "crossover": "crossovers",
    "Fading": "fades",
    "fading": "fades",
    "dense_family": "family",
    "dense_shape": "family",
    "moe_family": "family",
    "moe_shape": "family",
    "AdvantageMap": "maps",
    "MapGrids": "maps",
    "advantage_map": "maps",
    "map_grids": "maps",
    "ProofCourse": "proofs",
    "proof_course": "proofs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'planner.studies' has no attribute {name!r}")
    return getattr(import_module(f"planner.studies.{_HOME_OF[name]}"), name)
