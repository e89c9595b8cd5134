"""How answers show themselves: text, HTML, small pictures, plotly figures.

Knows answers, scores and nouns; nothing of how answers are found.
"""

from planner.answers.certificates import Certificate, ClusterCertificate, Verdict
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
from planner.machines.cluster import Cluster
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import PairedPlan, Plan
from planner.records import portrait, show_as
from planner.report import fronts, html, lines, misses, nouns, plots, reasons, sizings, text
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.pairs import PairedScore
from planner.scoring.score import Score

__all__ = ["portrait"]

show_as(
    Result,
    line=lines.result_line,
    text=text.result_text,
    html=html.result_html,
    figure=plots.figure_of,
)
show_as(ClusterResult, line=lines.cluster_result_line, text=text.cluster_result_text)
show_as(Disaggregation, line=lines.disaggregation_line, text=text.disaggregation_text)
show_as(Pairing, line=lines.pairing_line, text=text.pairing_text)
show_as(PairedScore, line=lines.paired_score_line, text=text.paired_text)
show_as(PairedPlan, line=lines.paired_plan_line, text=text.paired_plan_text)
show_as(Fleet, line=lines.fleet_line, text=text.fleet_text)
show_as(Replanning, line=lines.replanning_line, text=text.replanning_text)
show_as(
    Front,
    line=lines.front_line,
    text=fronts.front_text,
    html=fronts.front_html,
    figure=fronts.front_figure,
)
show_as(Reasons, line=lines.reasons_line, text=reasons.reasons_text, html=reasons.reasons_html)
show_as(Sizing, line=lines.sizing_line, text=sizings.sizing_text, html=sizings.sizing_html)
show_as(NearMiss, line=lines.near_miss_line, text=misses.near_miss_line)
show_as(Certificate, line=lines.certificate_line, text=text.certificate_text)
show_as(
    ClusterCertificate,
    line=lines.cluster_certificate_line,
    text=text.cluster_certificate_text,
)
show_as(Verdict, line=lines.verdict_line, text=nouns.verdict_text)
show_as(Score, line=lines.score_line, text=text.score_text, html=html.score_html)
show_as(DisaggregatedScore, line=lines.disaggregated_score_line, text=text.disaggregated_text)
show_as(ModelGraph, line=lines.graph_line, text=nouns.graph_text, html=html.graph_html)
show_as(Topology, line=lines.topology_line, text=nouns.topology_text, html=html.topology_html)
show_as(Cluster, line=lines.cluster_line, text=nouns.cluster_text)
show_as(Plan, line=lines.whole_plan_line, text=text.plan_text, html=html.plan_html)
