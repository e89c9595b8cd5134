"""Reasons as records."""

from planner.answers.reasons import Alternative, Binding, Reasons, ShadowPrice


def test_reasons_come_back_from_json():
    reasons = Reasons(
        field="tpot_s",
        direction="minimize",
        objective=0.02,
        shape="tensor only",
        binding=(Binding(resource="memory bandwidth of H100", share_fraction=0.7, counts="time"),),
        prices=(
            ShadowPrice(change="doubling the bandwidth", objective=0.013, effect=0.35, proved=True),
        ),
        alternatives=(
            Alternative(
                shape="one chip",
                plan=None,
                objective=None,
                effect=None,
                proved=True,
                refused="too small",
            ),
        ),
        elapsed_s=1.0,
    )
    assert Reasons.from_json(reasons.to_json()) == reasons
