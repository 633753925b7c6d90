"""What share of a device's rate a training reaches, and of which rate."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from cold_jax import processes
from cold_jax.batching.batch import Batch
from cold_jax.training import utilisation
from cold_jax.training.flop import StepFlop
from cold_jax.training.utilisation import Peak, Utilisation, describe, peak

TABLE = Batch(np.zeros(5, np.int32), None, None)  # type: ignore[arg-type]
FLOP = StepFlop(per_position=10.0, once=50.0, dtype="float32")  # 100 for such a batch


@pytest.mark.parametrize(
    ("kind", "dtype", "precision", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", None, 989.4),
        ("NVIDIA H200", "float32", None, 494.7),  # TF32
        ("NVIDIA H200", "float32", "highest", 66.9),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", "highest", 312),  # precision is of float32
        ("NVIDIA A100 80GB PCIe", "float32", "tensorfloat32", 156),
        ("NVIDIA L4", "bfloat16", "default", 121),
        ("Tesla T4", "bfloat16", None, None),
        ("Tesla V100-SXM2-16GB", "float32", None, 15.7),
        ("TPU v5 lite", "bfloat16", None, 197),
        ("TPU v5", "float32", None, 459),
        ("TPU v6 lite", "float32", "highest", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None, None),  # a seventh of one
        ("NVIDIA H200", "float64", None, None),
        ("NVIDIA H200", "float32", "high", None),
        ("some chip", "bfloat16", None, None),
    ],
)
def test_rates_are_those_of_the_datasheets_or_none(
    kind: str, dtype: str, precision: str | None, tera: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(platform="gpu", device_kind=kind)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    with jax.default_matmul_precision(precision):
        found = peak(dtype, 4)
    assert (found and found.source) == (tera and "datasheet")
    assert (found and found.flop_per_second) == (tera and pytest.approx(4 * tera * 1e12))


def test_a_processor_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    utilisation._measured.cache_clear()
    found = peak("float32", 1)
    assert found is not None
    assert found.source == "measured"
    assert 1e8 < found.flop_per_second < 1e14
    monkeypatch.setattr(jax, "jit", None)  # whoever measured again would need it
    assert peak("float32", 8) == found  # forced devices are one processor
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert peak("float32", 2) is None


def reached(rate: float | None, monkeypatch: pytest.MonkeyPatch) -> Utilisation:
    monkeypatch.setattr(utilisation, "peak", lambda dtype, devices: rate and Peak(rate * devices, "measured"))
    return Utilisation(FLOP, devices=2)


def test_a_share_is_flop_over_seconds_and_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 100 FLOPs; the first is compiled, two are forgotten at a validation; the median of .1, .1, .4 of 2 × 500 FLOP/s."""
    u = reached(500.0, monkeypatch)
    u.add(TABLE)
    assert u.log(1, 30.0, compiled=True) == {}
    assert u.report() is None
    for _ in range(2):
        u.add(TABLE)
    assert u.log(2, 2.0, compiled=False) == {"mfu": pytest.approx(0.1)}
    u.add(TABLE)
    u.add(TABLE)
    u.restart()
    u.add(TABLE._replace(rows=np.zeros(15, np.int32)))
    assert u.log(1, 0.5, compiled=False) == {"mfu": pytest.approx(0.4)}
    report: Any = u.report()
    assert report == {
        "mfu": pytest.approx(0.1),
        "flop_per_step": pytest.approx(400 / 3),
        "flop_per_second": pytest.approx(100.0),
        "peak_flop_per_second": 1000.0,
        "peak": "measured",
        "dtype": "float32",
    }
    assert describe(report | {"flop_per_second": 1e11, "peak_flop_per_second": 1e12, "flop_per_step": 2.5e9}) == (
        "MFU 10 %: 100.0 of 1,000.0 GFLOP/s (measured, float32), 2.50 GFLOP a step"
    )


def test_an_unknown_rate_gives_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    u = reached(None, monkeypatch)
    u.add(TABLE)
    assert u.log(1, 1.0, compiled=False) == {}
    report: Any = u.report()
    assert (report["mfu"], report["peak"], report["flop_per_second"]) == (None, None, 100.0)
    assert "no MFU" in describe(report)


def test_without_a_count_there_is_no_report() -> None:
    u = Utilisation(None, 1)
    u.add(TABLE)
    assert u.log(1, 1.0, compiled=False) == {}
    assert u.report() is None
