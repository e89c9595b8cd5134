"""Where one machine's advantage over another ends.

Knows sweeps and the verbs.
"""

from planner.records import show_as
from planner.studies.advantage.drawing import map_svg
from planner.studies.advantage.plotting import map_figure
from planner.studies.advantage.records import AdvantageMap

show_as(AdvantageMap, svg=map_svg, figure=map_figure)
