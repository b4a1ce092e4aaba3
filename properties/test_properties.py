"""Every property on every implementation, by the plugin's fixtures alone: ``pytest --pyargs gatecheck.properties --gatecheck-impl …``."""


def test_property(implementation, prop):
    prop(implementation)
