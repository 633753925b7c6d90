"""What results.json holds: its types, checked where it is written and where it is read."""

import math
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from cold_jax.evaluation.statistics import Comparison

PRIVATE = ("delta", "noise_multiplier", "sampling_rate", "steps", "clip")  # numbers of the block `privacy`
Parts = dict[str, dict[str, float]]  # part -> metric -> value


class Results(TypedDict):
    experiment: str
    seed: int
    versions: dict[str, str]
    devices: dict[str, Any]  # platform, device kind, CPU model, thread count, XLA_FLAGS
    seconds: dict[str, float]
    test: Parts
    baselines: dict[str, Parts]
    versus: dict[str, dict[str, dict[str, Comparison]]]  # baseline -> part -> metric
    best_step: NotRequired[int]
    digests: NotRequired[dict[str, str]]  # sha256 of the data as they were read, of split, encoder and tokens
    parameters: NotRequired[dict[str, int]]  # trained and frozen
    peak_memory: NotRequired[int | None]  # bytes
    peak_device_memory: NotRequired[int | None]  # bytes of an accelerator; None without one
    utilisation: NotRequired[dict[str, Any]]  # of the median training step: see training/utilisation.py
    overrides: NotRequired[list[str]]  # as they were typed
    encoder: NotRequired[str]  # the name of θ
    privacy: NotRequired[dict[str, Any]]  # of privacy=dp: ε, δ, what they are of, and what they do not cover
    protocol: dict[str, dict[str, Any]]  # part -> task, candidates, mask, ties, users, items, minimum_detectable_difference


def check_results(document: Mapping[str, Any], where: str) -> None:
    """ValueError where results.json is not of the types of `Results`: whoever shows it relies on them."""
    empty: dict[str, Any] = {}
    for key in Results.__required_keys__:
        wanted = {"experiment": str, "seed": int}.get(key, dict)
        if not isinstance(document.get(key), wanted):
            raise ValueError(f"{where}: {key} is {str(document.get(key, 'missing'))[:80]!r}, not of type {wanted.__name__}")
    _require_finite(document["test"], f"{where}: test", 2)
    _require_finite(document["baselines"], f"{where}: baselines", 3)
    _require_finite(document["seconds"], f"{where}: seconds", 1)
    for baseline, parts in document["versus"].items():
        for part, metrics in _dict(parts, f"{where}: versus.{baseline}").items():
            for metric, found in _dict(metrics, f"{where}: versus.{baseline}.{part}").items():
                name = f"{where}: versus.{baseline}.{part}.{metric}"
                numbers = {k: v for k, v in _dict(found, name).items() if k not in ("ci95", "ratio")}
                _require_finite(numbers, name, 1)
                if (
                    not {"difference", "p"} <= numbers.keys()
                    or not isinstance(found.get("ci95"), list)
                    or len(found["ci95"]) != 2
                ):
                    raise ValueError(f"{name} has no difference, p and ci95")
                _require_finite(dict(enumerate(found["ci95"])), f"{name}.ci95", 1)
                _require_finite(empty if found.get("ratio") is None else {"ratio": found["ratio"]}, name, 1)
    for part, protocol in document["protocol"].items():
        if type(_dict(protocol, f"{where}: protocol.{part}").get("users")) is not int:
            raise ValueError(f"{where}: protocol.{part}.users is no count")
    if type(document.get("best_step", 0)) is not int:
        raise ValueError(f"{where}: best_step is no step")
    if not isinstance(document.get("encoder", ""), str):
        raise ValueError(f"{where}: encoder is no name")
    if not isinstance(document.get("digests", empty), dict):
        raise ValueError(f"{where}: digests is no object")
    for key in ("peak_memory", "peak_device_memory"):
        if document.get(key) is not None:
            _require_finite(document[key], f"{where}: {key}", 0)
    reached = _dict(document.get("utilisation", empty), f"{where}: utilisation")
    measured = {key: value for key, value in reached.items() if value is not None and key not in ("peak", "dtype")}
    _require_finite(measured, f"{where}: utilisation", 1)
    typed = document.get("overrides", [])
    if not isinstance(typed, list) or not all(isinstance(word, str) for word in typed):
        raise ValueError(f"{where}: overrides is no list of words")
    _require_finite(document.get("parameters", empty), f"{where}: parameters", 1)
    if "privacy" in document:
        private = _dict(document["privacy"], f"{where}: privacy")
        _require_finite({key: private.get(key) for key in PRIVATE}, f"{where}: privacy", 1)
        _require_finite(empty if private.get("epsilon") is None else {"epsilon": private["epsilon"]}, f"{where}: privacy", 1)


def _dict(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:80]!r}, not an object")
    return value


def _require_finite(value: Any, where: str, depth: int) -> None:
    """ValueError unless mappings nested exactly so deep hold finite numbers."""
    if depth:
        for key, inner in _dict(value, where).items():
            _require_finite(inner, f"{where}.{key}", depth - 1)
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} is {str(value)[:80]!r}, not a finite number")
