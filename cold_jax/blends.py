"""What a trained model's scores are joined with when it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass

from cold_jax.baselines import sequences
from cold_jax.evaluation import Scorer
from cold_jax.parts import Part, Train


@dataclass(frozen=True)
class Alone:
    """The model's own scores."""

    def __call__(self, model: Scorer, train: Train, validation: Mapping[str, Part]) -> Scorer:
        return model


@dataclass(frozen=True)
class History(sequences.History):
    """The model beside the closed forms for sequences, weights chosen on validation, the model's being 1."""

    def __call__(self, model: Scorer, train: Train, validation: Mapping[str, Part]) -> Scorer:  # type: ignore[override]
        return self.fit(train, validation, {"model": model})
