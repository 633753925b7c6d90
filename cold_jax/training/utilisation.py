"""Model FLOPs utilisation (MFU): the share of the devices' peak rate that the steps of a training reach.

MFU = FLOPs of a step's matrix products (training/flop.py) / (its seconds × peak), as of Chowdhery et al. 2022, arXiv 2204.02311, appendix B.
"""

import functools
import re
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax import processes
from cold_jax.batching.batch import Batch
from cold_jax.training.flop import StepFlop

# Dense products by device kind, in TFLOP/s: of bfloat16; of float32 as JAX computes them by default (TF32, or on a TPU one bfloat16 pass);
# of float32 at precision=highest. From the vendors' datasheets. None: the chip has no unit for it, or the rate is not in them.
DATASHEETS: dict[str, tuple[float | None, float | None, float | None]] = {
    "NVIDIA H100 80GB HBM3|NVIDIA H200": (989.4, 494.7, 66.9),
    "NVIDIA H100 PCIe": (756, 378, 51.2),
    "NVIDIA A100-(SXM4|PCIE)-[48]0GB|NVIDIA A100 80GB PCIe": (312, 156, 19.5),
    "NVIDIA L4": (121, 60.5, 30.3),
    "Tesla T4": (None, 8.1, 8.1),
    "Tesla V100-SXM2-(16|32)GB": (None, 15.7, 15.7),
    "Tesla V100-PCIE-(16|32)GB": (None, 14, 14),
    "TPU v4": (275, 275, None),
    "TPU v5 lite|TPU v5e": (197, 197, None),
    "TPU v5|TPU v5p": (459, 459, None),
    "TPU v6 lite|TPU v6e": (918, 918, None),
}


class Peak(NamedTuple):
    flop_per_second: float  # of all devices
    source: str  # "datasheet", or "measured" on this processor


def peak(dtype: str, devices: int) -> Peak | None:
    """The rate of products of `dtype`; None where it is not known. Forced devices of one processor share its rate."""
    device, precision = jax.local_devices()[0], jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    if device.platform == "cpu":
        return Peak(_measured(dtype), "measured") if processes.count() == 1 else None
    by_precision = {None: 1, "default": 1, "tensorfloat32": 1, "highest": 2, "float32": 2}
    column = 0 if dtype == "bfloat16" else by_precision.get(precision) if dtype == "float32" else None
    rates = next((rates for kind, rates in DATASHEETS.items() if re.fullmatch(kind, device.device_kind)), None)
    rate = rates[column] if rates is not None and column is not None else None
    return None if rate is None else Peak(rate * 1e12 * devices, "datasheet")


@functools.cache
def _measured(dtype: str) -> float:
    """By the best of three products of 1.2 GFLOP, some hundredths of a second."""
    x, w = (jax.device_put(np.ones(shape, jnp.dtype(dtype))) for shape in ((1024, 384), (384, 1536)))
    multiply, seconds = jax.jit(jnp.matmul), []
    for _ in range(4):
        start = time.perf_counter()
        multiply(x, w).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * x.size * w.shape[1] / min(seconds[1:])


class Utilisation:
    """What the steps of a training reach, from one logged step to the next."""

    def __init__(self, flop: StepFlop | None, devices: int):
        """flop: None: nothing is counted."""
        self.of_batch, self.peak = flop, None if flop is None else peak(flop.dtype, devices)
        self.flop, self.counted = 0.0, 0.0  # since the last step that is logged; in all
        self.rates: list[float] = []  # FLOP/s of each step

    def add(self, batch: Batch) -> None:
        """A step's batch."""
        self.flop += 0.0 if self.of_batch is None else self.of_batch(batch)

    def restart(self) -> None:
        """Forgets the steps since the last one that was logged."""
        self.flop = 0.0

    def log(self, steps: int, seconds: float, compiled: bool) -> dict[str, float]:
        """What a line of metrics.jsonl has of the steps since the last one; nothing where a step was compiled among them."""
        flop, self.flop = self.flop, 0.0
        if compiled or self.of_batch is None:
            return {}
        self.counted += flop
        self.rates += [flop / max(seconds, 1e-9)] * steps
        return {} if self.peak is None else {"mfu": self.rates[-1] / self.peak.flop_per_second}

    def report(self) -> dict[str, Any] | None:
        """Of the median step, as results.json has it; None where no step was timed."""
        if self.of_batch is None or not self.rates:
            return None
        rate, (peak, source) = statistics.median(self.rates), self.peak or (None, None)
        return {
            "mfu": peak and rate / peak,
            "flop_per_step": self.counted / len(self.rates),
            "flop_per_second": rate,
            "peak_flop_per_second": peak,
            "peak": source,
            "dtype": self.of_batch.dtype,
        }


def describe(report: dict[str, Any]) -> str:
    """A report in a line."""
    rate, peak = (f"{(report[key] or 0) / 1e9:,.1f}" for key in ("flop_per_second", "peak_flop_per_second"))
    step = f"{report['flop_per_step'] / 1e9:,.2f} GFLOP a step"
    if report["mfu"] is None:
        return f"{rate} GFLOP/s, {step}; no MFU: the peak rate of this device's {report['dtype']} products is not known"
    return f"MFU {100 * report['mfu']:.0f} %: {rate} of {peak} GFLOP/s ({report['peak']}, {report['dtype']}), {step}"
