"""A finished run behind HTTP: /recommend, /search, /explain, /items, /health, and /openapi.json, which describes them."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from cold_jax.errors import ConfigError, UserError
from cold_jax.explanations.explanation import Explanation
from cold_jax.serving.recommender import Recommender
from cold_jax.serving.requests import UserRequest

if TYPE_CHECKING:
    from fastapi import FastAPI  # pyright: ignore[reportMissingImports]

Message = dict[str, Any]  # of ASGI


class Limits(NamedTuple):
    """What one request may ask for."""

    body: int  # bytes
    k: int
    batch: int  # users
    text: int  # characters of a profile or a query
    history: int  # ids in liked, and in exclude
    page: int  # items
    reasons: int  # items of a request that are explained


class _BodyLimit:
    """Answers 413 to a body that is too large, before more of it is read."""

    def __init__(self, app: Callable[..., Awaitable[None]], largest: int):
        self.app, self.largest = app, largest

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            chunks.append(message.get("body", b""))
            size, more = size + len(chunks[-1]), message.get("more_body", False)
            if size > self.largest:
                text = f'{{"error":"body: more than {self.largest:,} bytes"}}'.encode()
                headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 413, "headers": headers})
                await send({"type": "http.response.body", "body": text})
                return None
        body = iter([{"type": "http.request", "body": b"".join(chunks), "more_body": False}])

        async def again() -> Message:
            return next(body, None) or await receive()

        return await self.app(scope, again, send)


class Item(BaseModel):
    item_id: str
    text: str


class Ranked(Item):
    rank: int
    score: float
    reasons: str | None = Field(None, description="the largest shares and words, with explain=true; all of them: /explain")


class List(BaseModel):
    name: str
    items: list[Ranked]
    reason: str = Field(description="why there are no items, where there are none")


class Page(BaseModel):
    total: int
    items: list[Item]


def request_models(limits: Limits) -> tuple[Any, Any, Any]:
    """(a request for lists, a search, a request for an explanation), as pydantic checks them."""

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    class User(Strict):
        """A user of the data, a new one, or one of the data with another profile or more likes."""

        user: str | None = None
        profile: str | None = Field(None, max_length=limits.text)
        liked: list[str] = Field([], max_length=limits.history)
        exclude: list[str] = Field([], max_length=limits.history)
        name: str = Field("", max_length=200, description="comes back with the list")

    class Wanted(Strict):
        k: int = Field(10, ge=1, le=limits.k)
        where: list[str] = Field([], max_length=20, description="filters such as genre=Drama; all must hold")

    class Recommend(Wanted):
        users: list[User] = Field(min_length=1, max_length=limits.batch)
        explain: bool = Field(False, description=f"with reasons, of at most {limits.reasons} items in all")

    class Search(Wanted, User):
        query: str = Field(min_length=1, max_length=limits.text)

    class Explain(Strict):
        item: str
        user: str | None = None
        profile: str | None = Field(None, max_length=limits.text)
        liked: list[str] = Field([], max_length=limits.history)
        method: str = Field("model", max_length=200, description="or a baseline of the run")
        texts: int = Field(5, ge=0, le=limits.reasons, description="items of the history whose words are looked at")
        nearest: int = Field(5, ge=0, le=limits.k)

    return Recommend, Search, Explain


def make_app(recommender: Recommender, limits: Limits, hosts: list[str]) -> "FastAPI":
    """The application. One request is scored at a time; `hosts` are the names that a request may call the server by.

    Raises ConfigError where FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, Request  # pyright: ignore[reportMissingImports]
        from fastapi.middleware.trustedhost import TrustedHostMiddleware  # pyright: ignore[reportMissingImports]
        from fastapi.responses import JSONResponse  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError("serve: FastAPI is not installed; pip install 'cold_jax[serve]'") from None

    Recommend, Search, Explain = request_models(limits)
    app = FastAPI(title="cold_jax", description=f"The run {recommender.run.path.name}", docs_url=None, redoc_url=None)
    app.add_middleware(_BodyLimit, largest=limits.body)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    lock = threading.Lock()

    @app.exception_handler(UserError)
    def wrong(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    def ranked(requests: list[UserRequest], wanted: Any) -> Iterator[List]:
        explains = getattr(wanted, "explain", False)
        if explains and wanted.k * len(requests) > limits.reasons:
            raise ConfigError(
                f"explain: {wanted.k} items of {len(requests)} users are more than {limits.reasons}; take fewer, or /explain"
            )
        with lock:
            found = list(recommender.recommend_many(requests, k=wanted.k, where=wanted.where))
            reasons = [
                recommender.reasons(request, answer.item_ids) if explains else [None] * len(answer.item_ids)
                for request, answer in zip(requests, found, strict=True)
            ]
        for answer, own in zip(found, reasons, strict=True):
            rows = enumerate(zip(answer.item_ids, answer.texts, answer.scores, own, strict=True), 1)
            items = [
                Ranked(item_id=item, text=text, rank=rank, score=score, reasons=why) for rank, (item, text, score, why) in rows
            ]
            yield List(name=answer.name, items=items, reason=answer.reason)

    def request_of(user: Any, query: str | None = None) -> UserRequest:
        return UserRequest(user.user, user.profile, tuple(user.liked), query, tuple(user.exclude), user.name or user.user or "")

    @app.post("/recommend")
    def recommend(wanted: Recommend) -> list[List]:  # pyright: ignore[reportInvalidTypeForm]
        """The best items for each user, in their order."""
        return list(ranked([request_of(user) for user in wanted.users], wanted))

    @app.post("/search")
    def search(wanted: Search) -> List:  # pyright: ignore[reportInvalidTypeForm]
        """The best items for these words, and for this user where one is described."""
        return next(ranked([request_of(wanted, wanted.query)], wanted))

    @app.post("/explain")
    def explain(wanted: Explain) -> Explanation:  # pyright: ignore[reportInvalidTypeForm]
        """Why an item has its score for a user."""
        options = {"method": wanted.method, "texts": wanted.texts, "nearest": wanted.nearest}
        with lock:
            return recommender.explain(wanted.item, wanted.user, profile=wanted.profile, liked=wanted.liked, **options)

    @app.get("/items")
    def items(offset: int = 0, limit: int = limits.page) -> Page:
        """A page of the catalogue."""
        if offset < 0 or not 0 < limit <= limits.page:
            raise ConfigError(f"offset, limit: {offset}, {limit}; give 0 or more, and 1 to {limits.page}")
        entities = recommender.prepared.dataset.items
        text = next(iter(entities.texts.values()))
        page = range(offset, min(offset + limit, len(entities)))
        return Page(total=len(entities), items=[Item(item_id=entities.ids[i], text=text[i]) for i in page])

    @app.get("/health")
    def health() -> dict[str, str]:
        """That the server answers."""
        return {"run": recommender.run.path.name, "status": "ready"}

    return app


def warm_up(recommender: Recommender, limits: Limits, *, search: bool) -> None:
    """Compiles what requests of any number of users need, so that the first is as fast as the others."""
    size = 1
    while size // 2 < limits.batch:
        requests = [UserRequest(profile=f"user {n}") for n in range(min(size, limits.batch))]
        list(recommender.recommend_many(requests))
        size *= 2
    if search:
        list(recommender.recommend_many([UserRequest(query="a")]))


@contextmanager
def readable_errors() -> Iterator[None]:
    """A port that is taken is a line."""
    try:
        yield
    except SystemExit as stop:
        if stop.code:
            raise ConfigError("port: the server could not start there; is another one running? choose another port=") from None
