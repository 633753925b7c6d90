"""Reasons for a run's scores: of its model, or of one of its baselines, which is fitted again when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from cold_jax.data.matrices import normalize_rows
from cold_jax.errors import ConfigError, nearest_name
from cold_jax.explanations.closed_form import Known, explain_closed_form
from cold_jax.explanations.explainer import Explainer, Subject

if TYPE_CHECKING:
    from cold_jax.encoders import Loaded
    from cold_jax.evaluation.evaluate import Scorer
    from cold_jax.explanations.explanation import Explanation
    from cold_jax.serving.scorers import RunScorer

MODEL = "model"


class Reasons:
    """Of one catalogue; what is compiled or fitted stays."""

    def __init__(self, scorer: RunScorer, phi: Callable[[], Loaded]):
        self.scorer, self.phi = scorer, phi
        self._fitted: dict[str, Scorer] = {}

    def __call__(
        self,
        item: int,
        user: str | None,
        known: int | None,
        profile: str | None,
        history: Sequence[int],
        method: str,
        texts: int,
        nearest: int,
    ) -> Explanation:
        """`known` is the integer id of `user` in the data; `profile` a text instead of theirs. See Recommender.explain."""
        from cold_jax.models.ensembles import SingleModel

        own = self.scorer.text_of(known) if profile is None and known is not None else profile or ""
        number = None if profile is not None else known
        subject = Subject(user, self.scorer.new_user if number is None else number, own, history, item)
        if method != MODEL:
            return self._of_baseline(method, subject, number, nearest)
        found = self.explainer(subject, texts=texts, nearest=nearest)
        if not isinstance(self.scorer.settings.ensemble, SingleModel):
            ensemble = type(self.scorer.settings.ensemble).__name__
            found.notes.append(f"the run ranks by {ensemble}, of which this is the model's score alone")
        return found

    @cached_property
    def explainer(self) -> Explainer:
        model = self.scorer.settings.model
        if not model.trains:
            others = ", ".join(self.scorer.settings.baselines) or "none"
            raise ConfigError(
                f"explain: {type(model).__name__}, a language model's likelihood, has no explanation; explain a baseline of the run by "
                f"method=NAME (it has {others}), or train model=two_tower"
            )
        p = self.scorer.prepared
        return Explainer(self.scorer.partition, self.phi(), p.dataset.items, self.scorer.vector_ID, p.train.warm_I)

    def _of_baseline(self, method: str, subject: Subject, number: int | None, nearest: int) -> Explanation:
        from cold_jax.baselines.base import Person
        from cold_jax.encoders import precomputed
        from cold_jax.progress import stage

        p, baselines = self.scorer.prepared, self.scorer.settings.baselines
        if method not in baselines:
            raise ConfigError(f"method: the run has no baseline {method!r}; {nearest_name(method, [MODEL, *baselines])}")
        if method not in self._fitted:
            with stage(f"fitting {method}"):
                validation = self.scorer.settings.evaluation.sample(p.split.validation)
                self._fitted[method] = baselines[method](p.train, validation)
        person = Person(number, precomputed.encode(p.loaded, [subject.profile], "users")[0])
        return explain_closed_form(method, self._fitted[method], subject, person, self._known, nearest=nearest)

    @cached_property
    def _known(self) -> Known:
        p = self.scorer.prepared
        return Known(p.dataset.users, p.dataset.items, normalize_rows(next(iter(p.train.item_vectors.values()))), p.train.warm_I)
