"""A small map that nobody priced: every square as it is typed in."""

from planner.studies.advantage.records import AdvantageMap, Measured, Square, Switch

SIZES = (1e10, 3e10, 1e11, 3e11, 1e12)
SPEEDS = (10.0, 30.0, 100.0, 300.0)
NAMES = ("gpu", "lpu")
FIELD = (
    # By size, then by speed: what a token costs on each; None: not fast enough.
    ((1, 9), (1, 3), (1, 1.5), (None, 4)),
    ((2, 9), (2, 5), (6, 5), (None, 6)),
    ((3, 9), (4, 6), (None, 7), (None, None)),
    ((6, 9), (7, None), (None, None), (None, None)),
    ((9, None), (None, None), (None, None), (None, None)),
)
SURE = (
    (1, 1, 0.6, 0.95),
    (1, 0.95, 0.7, 1),
    (1, 0.8, 1, None),
    (0.7, 1, None, None),
    (1, None, None, None),
)


def measured(model: str, size: float, speed: float, topology: str, source: str) -> Measured:
    return Measured(
        topology=topology, model=model, parameters=size, tokens_per_s_per_user=speed,
        energy_per_token_j=None, row_id=f"ROW-{model}", source=source,
    )  # fmt: skip


def square(size: int, speed: int) -> Square:
    values = FIELD[size][speed]
    known = sorted(one for one in values if one is not None)
    return Square(
        parameters=SIZES[size],
        tokens_per_s_per_user=SPEEDS[speed],
        winner=NAMES[values.index(known[0])] if known else None,
        advantage=known[1] / known[0] if len(known) > 1 else None,
        likely_share=SURE[size][speed],
        values=values,
        chips=8 if known else None,
        users=4 if known else None,
        tpot_s=1 / SPEEDS[speed] if known else None,
    )


def switch(model: str, size: float, speed: float) -> Switch:
    return Switch(
        model=model, parameters=size, tokens_per_s_per_user=speed, before="gpu", after="lpu"
    )


def small_map(**fields) -> AdvantageMap:
    rows = tuple(square(size, speed) for size in range(5) for speed in range(4))
    made = AdvantageMap(
        topologies=NAMES,
        titles=("Eight GPUs: of a kind", "A chain of LPUs"),
        metric="energy_per_token_j",
        family="dense",
        weight_dtype="fp8",
        prompt_tokens=1024,
        output_tokens=256,
        most_users=None,
        sizes=SIZES,
        speeds=SPEEDS,
        rows=rows,
        uncertainties=(),
        measured=(
            measured("one-10b", 1.1e10, 60, "gpu", "a bench"),
            measured("two-30b", 3e10, 280, "lpu", "a page of 2024-05-30"),
            measured("off-1t", 1e12, 2000, "lpu", "beyond the map, 2025"),
        ),
        switches=(switch("one-30b", 3e10, 90), switch("two-32b", 3.2e10, 95)),
    )
    return made.replace(**fields)
