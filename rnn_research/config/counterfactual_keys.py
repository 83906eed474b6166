"""The strategies of `probe=counterfactual` by name: `probe.counterfactual.strategies=[value,agc]`.

They are options of the group `clipping`, put into the probe. Hydra writes that `clipping@PACKAGE=[value,agc]`.
"""

from __future__ import annotations

STRATEGIES = "probe.counterfactual.strategies"
"""The key of the probe that holds strategies by name."""


def expand(overrides: list[str]) -> list[str]:
    """Return the overrides, with names given to `STRATEGIES` as a choice of options.

    A value that is no name, list of names or sweep over these (a mapping, an interpolation, null) stays as it is.
    """
    return [_expanded(override) for override in overrides]


def _expanded(override: str) -> str:
    key, _, value = override.partition("=")
    names = value.strip() not in ("", "null") and not any(sign in value for sign in "{}$:")
    return f"clipping@{STRATEGIES}={value}" if key == STRATEGIES and names else override
