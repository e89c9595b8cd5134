"""Whether a figure of matplotlib can be read: all of its texts inside, none over another."""

import itertools

from matplotlib.text import Text

from planner.report.static import Box, look


def texts_of(figure) -> list[Text]:
    """Those that are drawn: tick labels beyond the axes' ends are not."""
    with look():
        figure.draw_without_rendering()
    off = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = set(axis._update_ticks()) if axes.axison else set()
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            off |= {
                label for tick in ticks if tick not in drawn for label in (tick.label1, tick.label2)
            }
    return [
        one
        for one in figure.findobj(Text)
        if one.get_text().strip() and one.get_visible() and one not in off
    ]


def faults_of(figure) -> list[str]:
    """What cannot be read, in words."""
    frame = Box.of(figure)
    boxes = [(one.get_text(), Box.of(one)) for one in texts_of(figure)]
    outside = [f"{words!r} runs out of the frame" for words, box in boxes if not box.is_in(frame)]
    over = [
        f"{one!r} over {other!r}"
        for (one, box), (other, there) in itertools.combinations(boxes, 2)
        if box.meets(there, -1.0)
    ]
    return outside + over
