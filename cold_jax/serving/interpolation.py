"""How much of Δθ is best on validation: θ + αΔθ of a finished run (WiSE-FT)."""

from collections.abc import Callable, Sequence

from cold_jax import experiment
from cold_jax.adapters import merge
from cold_jax.config import Settings
from cold_jax.errors import ConfigError
from cold_jax.runs.folder import Run
from cold_jax.serving.scorers import RunScorer
from cold_jax.storage.files import digest


def best_alpha(s: Settings, run: Run, alphas: Sequence[float], tell: Callable[[str], object]) -> float:
    """The α at which the run's model, its head as it is, is best on the validation tasks by evaluation.metric; the first of equals."""
    if experiment.is_language_modelling(s):
        raise ConfigError("alpha: a run that predicts tokens ranks nothing by which one could be chosen; give a single alpha")
    p = experiment.prepare(s)
    saved = (run.read_pretraining() if run.pretrained else run.read_results()).get("digests", {})
    for name in ("data", "split"):
        if name in saved and saved[name] != p.digests[name]:
            raise ConfigError(
                f"alpha: the {name} is not that which {run.path} was trained on, so validation cannot choose; give a single alpha"
            )
    theta, phi = p.loaded, experiment.adapted(s, p, run)
    reached = []
    for alpha in alphas:
        between = merge.interpolate(theta.encoder, phi.encoder, alpha)
        loaded = theta.with_encoder(between, digest(phi.digest, repr(float(alpha))))
        scorer = RunScorer(run, s, p, p, lambda loaded=loaded: loaded, {}).model_scorer
        reached.append(experiment.validate(s, p, scorer).metric)
        tell(f"alpha={alpha:g}: {s.evaluation.metric} {reached[-1]:.4f} on validation")
    return alphas[reached.index(max(reached))]
