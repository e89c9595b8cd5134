"""How answers show themselves: text, HTML, small pictures, plotly figures.

Knows answers, scores and nouns; nothing of how answers are found.
"""

from planner.answers.certificates import Verdict
from planner.answers.fronts import Front
from planner.answers.misses import NearMiss
from planner.answers.reasons import Reasons
from planner.answers.results import (
    ClusterResult,
    Disaggregation,
    Fleet,
    Pairing,
    Replanning,
    Result,
)
from planner.answers.sizings import Sizing
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import PairedPlan, Plan
from planner.records import portrait, show_as
from planner.report import fronts, html, misses, nouns, plots, reasons, sizings, text
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.pairs import PairedScore
from planner.scoring.score import Score

__all__ = ["portrait"]

show_as(Result, text=text.result_text, html=html.result_html, figure=plots.figure_of)
show_as(ClusterResult, text=text.cluster_result_text)
show_as(Disaggregation, text=text.disaggregation_text)
show_as(Pairing, text=text.pairing_text)
show_as(PairedScore, text=text.paired_text)
show_as(PairedPlan, text=text.paired_plan_text)
show_as(Fleet, text=text.fleet_text)
show_as(Replanning, text=text.replanning_text)
show_as(Front, text=fronts.front_text, html=fronts.front_html, figure=fronts.front_figure)
show_as(Reasons, text=reasons.reasons_text, html=reasons.reasons_html)
show_as(Sizing, text=sizings.sizing_text, html=sizings.sizing_html)
show_as(NearMiss, text=misses.near_miss_line)
show_as(Verdict, text=nouns.verdict_text)
show_as(Score, text=text.score_text, html=html.score_html)
show_as(DisaggregatedScore, text=text.disaggregated_text)
show_as(ModelGraph, text=nouns.graph_text, html=html.graph_html)
show_as(Topology, text=nouns.topology_text, html=html.topology_html)
show_as(Plan, text=text.plan_text, html=html.plan_html)
