"""Every property that applies to MyGRU, each as a test."""

from my_gru import MyGRU

import gatecheck as gk


@gk.parametrize_with_properties(
    [MyGRU()], expected_failures={"empty_sequence": "my_gru.py: a sequence needs one step at least"}
)
def test_my_gru(implementation, prop):
    prop(implementation)
