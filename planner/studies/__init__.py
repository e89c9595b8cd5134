"""Studies: many plans, one question. `planner.studies.crossover(…)` and its neighbours load when
they are first used.

Knows the verbs, and predictions beside measurements; nothing of the command line.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.studies.advantage.crossings import Crossover
    from planner.studies.advantage.crossovers import crossover
    from planner.studies.advantage.fades import Fading, fading
    from planner.studies.advantage.family import dense_family, dense_shape, moe_family, moe_shape
    from planner.studies.advantage.maps import MapGrids, advantage_map, map_grids
    from planner.studies.advantage.records import AdvantageMap
    from planner.studies.advantage.tables import BorderTable, Contest, border_table
    from planner.studies.advantage.terms import Terms
    from planner.studies.audits.audits import Audit, audit
    from planner.studies.audits.claims import Claim, article_claims, read_claims
    from planner.studies.audits.findings import Finding
    from planner.studies.levers.requirements import Required, required
    from planner.studies.levers.sensitivities import (
        GlobalSensitivity,
        Sensitivity,
        global_sensitivity,
        sensitivity,
    )
    from planner.studies.levers.what_ifs import WhatIf, what_if
    from planner.studies.proofs import ProofCourse, proof_course
    from planner.studies.scalings import Scaling, scaling
    from planner.studies.servings import serving_fronts
    from planner.studies.sweeps.cells import Cell, SweepRow
    from planner.studies.sweeps.meters import Tally
    from planner.studies.sweeps.sweeps import Sweep, sweep

__all__ = [
    "AdvantageMap",
    "Audit",
    "BorderTable",
    "Cell",
    "Claim",
    "Contest",
    "Crossover",
    "Fading",
    "Finding",
    "GlobalSensitivity",
    "MapGrids",
    "ProofCourse",
    "Required",
    "Scaling",
    "Sensitivity",
    "Sweep",
    "SweepRow",
    "Tally",
    "Terms",
    "WhatIf",
    "advantage_map",
    "article_claims",
    "audit",
    "border_table",
    "crossover",
    "dense_family",
    "dense_shape",
    "fading",
    "global_sensitivity",
    "map_grids",
    "moe_family",
    "moe_shape",
    "proof_course",
    "read_claims",
    "required",
    "scaling",
    "sensitivity",
    "serving_fronts",
    "sweep",
    "what_if",
]

_HOME_OF = {
    "AdvantageMap": "advantage.records",
    "Audit": "audits.audits",
    "BorderTable": "advantage.tables",
    "Cell": "sweeps.cells",
    "Claim": "audits.claims",
    "Contest": "advantage.tables",
    "Crossover": "advantage.crossings",
    "Fading": "advantage.fades",
    "Finding": "audits.findings",
    "GlobalSensitivity": "levers.sensitivities",
    "MapGrids": "advantage.maps",
    "ProofCourse": "proofs",
    "Required": "levers.requirements",
    "Scaling": "scalings",
    "Sensitivity": "levers.sensitivities",
    "Sweep": "sweeps.sweeps",
    "SweepRow": "sweeps.cells",
    "Tally": "sweeps.meters",
    "Terms": "advantage.terms",
    "WhatIf": "levers.what_ifs",
    "advantage_map": "advantage.maps",
    "article_claims": "audits.claims",
    "audit": "audits.audits",
    "border_table": "advantage.tables",
    "crossover": "advantage.crossovers",
    "dense_family": "advantage.family",
    "dense_shape": "advantage.family",
    "fading": "advantage.fades",
    "global_sensitivity": "levers.sensitivities",
    "map_grids": "advantage.maps",
    "moe_family": "advantage.family",
    "moe_shape": "advantage.family",
    "proof_course": "proofs",
    "read_claims": "audits.claims",
    "required": "levers.requirements",
    "scaling": "scalings",
    "sensitivity": "levers.sensitivities",
    "serving_fronts": "servings",
    "sweep": "sweeps.sweeps",
    "what_if": "levers.what_ifs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'planner.studies' has no attribute {name!r}")
    return getattr(import_module(f"planner.studies.{_HOME_OF[name]}"), name)
