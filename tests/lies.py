"""safetensors files whose header does not tell the truth, for every reader of the format."""

import json

F32 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
DATA = bytes(range(16))


def packed(header: bytes | dict[str, object], data: bytes = DATA, length: int | None = None) -> bytes:
    """A file of this header. `length` is what it says of the header's own size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little", signed=length is not None and length < 0) + text + data


def tensor(**changes: object) -> dict[str, object]:
    return {"a": F32 | changes}


def pair(*offsets: list[int]) -> dict[str, object]:
    """Tensors of two numbers, with these places."""
    return {name: {"dtype": "F32", "shape": [2], "data_offsets": own} for name, own in zip("abc", offsets, strict=False)}


TRUTH = packed(tensor())
LIES = {
    "places-overlap": packed(pair([0, 8], [4, 12]), DATA[:12]),
    "places-are-the-same": packed(pair([0, 8], [0, 8]), DATA[:8]),
    "a-gap-between": packed(pair([0, 8], [12, 20]), bytes(20)),
    "a-gap-before": packed(pair([4, 12]), DATA[:12]),
    "bytes-after-the-last": packed(tensor(), bytes(20)),
    "ends-before-it-begins": packed(tensor(data_offsets=[16, 0])),
    "negative-place": packed(tensor(data_offsets=[-16, 0])),
    "beyond-the-file": packed(tensor(data_offsets=[0, 1 << 40], shape=[1 << 38])),
    "place-that-overflows": packed(tensor(data_offsets=[0, 1 << 64])),
    "place-with-a-fraction": packed(tensor(data_offsets=[0, 15.5])),
    "three-places": packed(tensor(data_offsets=[0, 8, 16])),
    "shape-too-small": packed(tensor(shape=[2, 1])),
    "shape-too-large": packed(tensor(shape=[2, 3])),
    "shape-that-overflows": packed(tensor(shape=[1 << 62, 1 << 62, 16])),
    "shape-that-wraps-to-the-right-size": packed(tensor(shape=[(1 << 62) + 1, 4])),
    "negative-shape": packed(tensor(shape=[-2, -2])),
    "shape-with-a-fraction": packed(tensor(shape=[2.0, 2.5])),
    "shape-is-no-list": packed(tensor(shape="22")),
    "unknown-type": packed(tensor(dtype="F33")),
    "type-of-another-width": packed(tensor(dtype="F64")),
    "no-type": packed({"a": {"shape": [2, 2], "data_offsets": [0, 16]}}),
    "tensor-is-no-mapping": packed({"a": 3}),
    "header-is-a-list": packed(b"[]"),
    "header-is-no-json": packed(b"{" * 8),
    "header-is-deeply-nested": packed(b'{"a":' * 100_000),
    "header-is-not-utf-8": packed(b'{"\xff":' + json.dumps(F32).encode() + b"}"),
    "header-is-longer-than-the-file": packed(tensor(), length=1 << 40),
    "header-length-overflows": packed(tensor(), length=-1),
    "header-is-cut-short": packed(tensor(), length=10),
    "header-is-empty": packed(b""),
    "the-same-name-twice": packed(b'{"a":%s,"a":%s}' % ((json.dumps(F32).encode(),) * 2)),
    "one-name-two-shapes": packed(b'{"a":%s,"a":%s}' % (json.dumps(F32).encode(), json.dumps(F32 | {"shape": [4]}).encode())),
    "metadata-that-is-no-text": packed({"__metadata__": {"a": 1}, **tensor()}),
    "metadata-that-is-a-list": packed({"__metadata__": [], **tensor()}),
}
