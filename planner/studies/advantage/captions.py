"""What a map says of itself: its title, and under what terms it was made."""

from planner.studies.advantage.records import AdvantageMap
from planner.studies.study import SPACE_WORDS

WORDS = {
    "energy_per_token_j": "energy for a token",
    "usd_per_million_tokens": "dollars for a token",
    "chips": "number of chips",
}


def title_of(drawn: AdvantageMap) -> str:
    """What the picture says, in one line."""
    kind = "dense models" if drawn.family == "dense" else "models with experts"
    title = f"The machine with the least {WORDS[drawn.metric]}, {kind} in {drawn.weight_dtype}"
    if drawn.most_users is None:
        return title
    users = "user" if drawn.most_users == 1 else "users"
    return f"{title}, at most {drawn.most_users} {users} in flight"


def caption_of(drawn: AdvantageMap) -> tuple[str, ...]:
    """Where it all comes from, in three lines."""
    asked = (
        f"{drawn.prompt_tokens} + {drawn.output_tokens} tokens;"
        " batch, users in flight, split, depth and chips free;"
        f" {SPACE_WORDS[drawn.space]}"
    )
    if drawn.counts:
        asked = f"{drawn.counts}; {asked}"
    source = (
        "prices: this package's catalogue and fits;"
        " points: the quickest row of each model in its published.csv"
    )
    searched = f"{drawn.proved}; no drafts, one pool for prompts and tokens"
    return tuple(f"{line[0].upper()}{line[1:]}." for line in (asked, searched, source))
