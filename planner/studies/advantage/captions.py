"""What a map says of itself: its title, under what terms it was made, and where it comes from."""

from collections.abc import Iterator

from planner.studies.advantage.looks import measured_on
from planner.studies.advantage.records import AdvantageMap
from planner.studies.study import SPACE_WORDS

WORDS = {
    "energy_per_token_j": "energy for a token",
    "usd_per_million_tokens": "dollars for a token",
    "chips": "number of chips",
}
OLD_TERMS = "no drafts; one pool for prompts and tokens; in use all hours"
"""Of maps that were drawn before terms were said."""


def title_of(drawn: AdvantageMap) -> str:
    """What the picture says, in one line."""
    kind = "dense models" if drawn.family == "dense" else "models with experts"
    title = f"The machine with the least {WORDS[drawn.metric]}, {kind} in {drawn.weight_dtype}"
    if drawn.most_users is None:
        return title
    users = "user" if drawn.most_users == 1 else "users"
    return f"{title}, at most {drawn.most_users} {users} in flight"


def caption_of(drawn: AdvantageMap) -> tuple[str, ...]:
    """Under what terms, each machine with its software and format, how well searched, where
    machines end, and where it all comes from; a sentence a line."""
    return tuple(f"{line[0].upper()}{line[1:]}." for line in _lines(drawn))


def _lines(drawn: AdvantageMap) -> Iterator[str]:
    lengths = f"{drawn.prompt_tokens} + {drawn.output_tokens} tokens"
    terms = f"{lengths}; {OLD_TERMS}; {SPACE_WORDS[drawn.space]}"
    if drawn.terms is not None:
        terms = drawn.terms.words()
    yield "; ".join(filter(None, (drawn.counts, terms)))
    if drawn.sides:
        yield f"machines: {'; '.join(side.words() for side in drawn.sides)}"
    yield from _apart(drawn)
    ends = [edge.words() for edge in drawn.edges]
    yield "; ".join((f"{drawn.proved}; batch, users in flight, split, depth and chips free", *ends))
    yield from _unreached(drawn)
    dated = f" as of {drawn.data_date}" if drawn.data_date else ""
    yield (
        f"prices and figures: this package's catalogue and fits{dated};"
        " points: the quickest row of each model in its published.csv"
    )


def _unreached(drawn: AdvantageMap) -> Iterator[str]:
    """Points where no machine is predicted to be as fast, with why they were measured there."""
    for one in measured_on(drawn):
        speed = one.tokens_per_s_per_user
        if one.reached is not False or not one.why:
            continue
        square = drawn.cell(one.parameters, speed)
        if square.winner is None and not square.unknown:
            yield f"{one.model} on {one.topology} at {speed:.0f} tokens/s: {one.why}"


def _apart(drawn: AdvantageMap) -> Iterator[str]:
    """Machines of which something is not as asked or not known."""
    if drawn.terms is not None and drawn.terms.pools:
        alone = [side.topology for side in drawn.sides if not side.has_pools]
        if alone:
            yield f"one pool on {', '.join(alone)}, whose software is not known to have two"
    if drawn.unknown:
        names = ", ".join(drawn.unknown)
        yield (
            f"the metric of {names} is not known, so squares for which it is fast enough have no"
            " winner"
        )
