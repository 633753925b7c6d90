"""Choices that privacy=dp refuses: they would let one user's data into another's loss, or into what a training starts from."""

from collections.abc import Iterator, Mapping
from typing import Any

from cold_jax.batching.sampled import InBatchSampling
from cold_jax.models.ensembles import SingleModel
from cold_jax.models.init import ContentInit, RandomInit
from cold_jax.models.two_tower import TwoTower
from cold_jax.training.objectives import Bce, Bpr, Softmax


def coupled(choices: Mapping[str, Any], users: int) -> Iterator[tuple[str, str]]:
    """(key, why not and what instead) of each choice, group → object, that does not go with a privacy of `users` users."""
    adapter, model, batching, objective = (choices[group] for group in ("adapter", "model", "batching", "objective"))
    if not adapter.trains_head:
        yield "adapter", "has nothing to protect where nothing is trained; use adapter=frozen or adapter=lora"
    if adapter.dropout:
        yield "adapter.dropout", "drops by the places of texts in the data, which move when a user leaves; set it to 0"
    if adapter.init_from is not None:
        yield "adapter.init_from", "cannot know whose data the adapter was trained on; set it to null"
    if not isinstance(model, TwoTower):
        yield "model", "trains model=two_tower alone"
    elif model.item_source_residual or model.item_target_residual or model.user_bias:
        keys = "item_source_residual, item_target_residual and user_bias"
        yield "model", f"has no vector of each item and no bias of each user; set {keys} to false"
    if not isinstance(choices["init"], RandomInit | ContentInit):
        yield "init", "cannot start from what was fitted on the interactions; use init=content or init=none"
    if not isinstance(batching, InBatchSampling) or not batching.full_softmax:
        instead = "use batching=in_batch batching.full_softmax=true"
        yield (
            "batching",
            f"takes all items as candidates: with in-batch negatives a user's loss depends on other users; {instead}",
        )
    else:
        if batching.group_by_item:
            yield "batching.group_by_item", "takes users at random; set it to false"
        if batching.user_power != 1 or batching.earliest_support:
            yield "batching.user_power", "takes each user with the same probability; set it to 1, and earliest_support to false"
        if not batching.support:
            yield "batching.support", "needs sizes of a user's support, as in [0,1,5,10]"
        if batching.size > users:
            yield "batching.size", f"cannot take more users a step than privacy.users={users}"
    if not isinstance(objective, Softmax | Bpr | Bce):
        yield "objective", "needs objective=softmax, bpr or bce"
    elif isinstance(objective, Softmax) and objective.log_q:
        yield "objective.log_q", "reads how popular items are, which is private; set it to false"
    if not isinstance(choices["ensemble"], SingleModel):
        yield "ensemble", "has weights that are fitted on validation users; use ensemble=none"
    if choices["loop"].patience is not None:
        yield "loop.patience", "keeps the last step, as stopping early would read validation users; set it to null"
