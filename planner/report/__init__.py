"""How answers show themselves: text, HTML, small pictures, plotly figures.

Knows answers, scores and nouns; nothing of how answers are found.
"""
