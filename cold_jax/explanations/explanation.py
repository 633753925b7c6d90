"""Why a run gives an item its score for a user: what an explanation holds."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Share:
    """What an item of the user's history adds to the score, exactly."""

    item_id: str
    text: str
    share: float


@dataclass(frozen=True)
class Words:
    """What the words of one text add to the score, by integrated gradients."""

    of: Literal["profile", "history", "item"]
    item_id: str | None
    words: list[tuple[str, float]]  # in the order of the text


@dataclass(frozen=True)
class Completeness:
    """How well the words' sum is what it has to be: the score less that of texts whose words are all masked."""

    difference: float
    sum: float
    error: float  # of the sum, relative to the difference
    steps: int  # of the integral


@dataclass(frozen=True)
class Neighbour:
    """A training item whose text is like the item's, by the cosine of φ's vectors."""

    item_id: str
    text: str
    cosine: float
    in_history: bool


@dataclass(frozen=True)
class Attribute:
    """What a text or an attribute of the user's profile adds to the score, exactly."""

    name: str
    share: float


@dataclass(frozen=True)
class SimilarUser:
    """A training user who took the item, and what that adds to the score."""

    user_id: str
    text: str
    share: float


@dataclass(frozen=True)
class Explanation:
    """score = item + user_bias + profile + history, and history is the sum of the shares.

    item: what a user without profile and history would get, the item's bias among it. user_bias: the user's own, the same for all items.
    profile: what the profile adds to that. shares: empty where the score is not a sum over the history. attributes, people: parts of
    `profile`, the largest first, where the method has them.
    """

    user: str | None
    item_id: str
    text: str
    score: float
    item: float
    user_bias: float
    profile: float
    history: float  # what all of the history adds
    shares: list[Share]  # the largest first
    words: list[Words]
    completeness: Completeness | None  # None: words were not looked at
    nearest: list[Neighbour]
    notes: list[str]
    method: str = "model"  # or the name of a baseline of the run
    attributes: list[Attribute] = field(default_factory=list)
    people: list[SimilarUser] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)
