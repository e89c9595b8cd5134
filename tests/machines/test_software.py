"""Software stacks as records."""

import pytest

from planner.errors import InputError
from tests.instances import tiny_software


def test_a_stack_cannot_lose_more_than_all_of_others_prompts():
    with pytest.raises(InputError, match="at most 1 together"):
        tiny_software(burst_share=0.3, interruption_share=0.8)
