"""Where the experts of a token lie: on how many of the ranks, or nodes, that share them out."""

import math


def routing_fault(experts: int, active: int, groups: int, groups_active: int) -> str | None:
    """How groups of experts cannot be chosen from; None where they can."""
    if groups == groups_active == 1:
        return None
    if experts % groups:
        return f"{groups} groups do not divide the {experts} experts; they must"
    if groups_active > groups:
        return f"groups_active is {groups_active}; it must be at most the {groups} groups"
    if active > groups_active * (experts // groups):
        return (
            f"{groups_active} of {groups} groups hold fewer than {active} experts; choose more"
            " groups"
        )
    return None


def units_touched(
    units: float, *, places: float, active: int, groups: int = 1, groups_active: int = 1
) -> float:
    """How many of `units` that share out the places of experts evenly, in their order, hold any of
    a token's on average: units × (1 - C(E - E/units, k) / C(E, k)) for k of E places, all alike.

    Models that limit routing choose so many groups first, neighbours all, and experts in these
    alone [1]. A unit that is wider than a group is taken to begin with one.

    [1] DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 2.1.2: node-limited routing.
    """
    each = places / units
    if groups_active >= groups:
        return units * (1.0 - _missed(each, places, active))
    group = places / groups
    whole = min(groups, math.floor(each / group + 1e-9))
    rest = max(0.0, each - whole * group)
    missed = 0.0
    for chosen in range(min(whole, groups_active) + 1):
        ways = math.comb(whole, chosen) * math.comb(groups - whole, groups_active - chosen)
        # The group of which the unit has a part may be one of the others that are chosen.
        partly = (groups_active - chosen) / (groups - whole) if groups > whole else 0.0
        among = groups_active * group
        beside = _missed(chosen * group, among, active)
        inside = _missed(chosen * group + rest, among, active)
        missed += ways * ((1.0 - partly) * beside + partly * inside)
    return units * (1.0 - missed / math.comb(groups, groups_active))


def _missed(held: float, places: float, active: int) -> float:
    """How likely `active` different places are all outside so many. [1]"""
    share = 1.0
    for number in range(active):
        share *= max(0.0, places - held - number) / (places - number)
    return share
