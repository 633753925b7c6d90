"""What of a run may leave its folder: settings without what is of this machine, and metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCAL = ("resume", "hydra", "logger")  # settings that say nothing of the experiment


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what is of this machine: LOCAL, and the value of every text that is a path."""
    return {key: _without_paths(value) for key, value in config.items() if key not in LOCAL}


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(inner) for inner in value]
    local = isinstance(value, str) and (Path(value).is_absolute() or value.startswith(("~", ".")) or "\\" in value)
    return "(a path)" if local or (isinstance(value, str) and "/" in value and Path(value).exists()) else value


def without_signs(kind: str, values: Mapping[str, float]) -> dict[str, float]:
    """KIND/NAME → value, for what takes no @ in a name."""
    return {f"{kind}/{name.replace('@', '_at_')}": value for name, value in values.items()}


def flat_metrics(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """part → metric → value as PART/METRIC → value."""
    return {f"{part}/{metric}": value for part, metrics in parts.items() for metric, value in metrics.items()}
