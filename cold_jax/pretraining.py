"""A pre-training, from data to the encoder φ in a folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from cold_jax import experiment, timing
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    from cold_jax.config import Settings
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import Logger


def pretrain_run(s: Settings, run: Run, logger: Logger) -> None:
    """Data → training → RUN/encoder, φ in a folder for transformers, sentence-transformers and encoder=hub."""
    from cold_jax.adapters import huggingface
    from cold_jax.document import costs, environment
    from cold_jax.progress import stage

    if s.adapter.frozen:
        raise ConfigError("adapter: pre-training changes the encoder; use adapter=full or adapter=lora")
    with timing.gathered() as seconds, timing.timed("total"):
        p = experiment.prepare(s)
        with stage("building the model"):
            t = experiment.setup(s, p)
        with timing.timed("train"), stage("training"):
            loop = experiment.training(s, p, t, run, logger)
            trainable, best_step = loop.fit()
    run.write_parameters(*experiment.export_parameters(s, t, trainable))
    partial = run.path / ".encoder"
    shutil.rmtree(partial, ignore_errors=True)
    phi = experiment.adapted(s, p, run)
    huggingface.write_encoder(partial, p.loaded, phi.encoder)
    shutil.rmtree(run.path / "encoder", ignore_errors=True)  # of a shorter training
    os.replace(partial, run.path / "encoder")
    run.write_pretraining(
        {
            "seconds": dict(seconds),
            "best_step": best_step,
            "digests": p.digests,
            **costs(*t.sizes, loop.utilisation.report()),
            **environment(s.parallel.count),
        }
    )
