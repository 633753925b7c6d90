"""A run's folder: each file has one writer and one reader, and under its final name it is always whole.

    config.yaml        the resolved config, with its sha256, signed (storage/signatures.py)
    overrides.json     what was typed for it, with its sha256
    split.csv          user_id, item_id, part, order
    metrics.jsonl      a line per logged step, each with its sha256
    per_user.parquet   part, method, user_id, metric, value
    rankings.parquet   part, user_id, rank, item_id, score
    delta.safetensors  Δθ alone; head.safetensors: the parameters outside the encoder
    results.json       written last: a run that has it is finished
    pretraining.json   of a pre-training, in its place: what it cost
    privacy_secret     of privacy=dp: what its noise is drawn from, readable by its owner alone, gone once all steps are taken

Ids are text, byte for byte, and no id or name becomes the name of a file. A folder may be somebody else's: its files are read within
limits, and none of them through a link. config.yaml and results.json say `format: 3`. The sha256 of a JSON object is of the object without
that key, with sorted keys and no spaces (storage/sealed.py); that of config.yaml is of the lines above it.
"""

import csv
import hashlib
import io
import json
import os
import re
import secrets
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cold_jax.errors import ExistsError, NoRoom, RunError, WriteError
from cold_jax.evaluation.tables import PerUser, Rankings
from cold_jax.runs.parquet import read_table, write_table
from cold_jax.runs.results import Results, check_results
from cold_jax.splits.files import SplitRows, read_split_rows
from cold_jax.storage.files import FULL, append_opener, atomic, room
from cold_jax.storage.limits import GiB, KiB, MiB, parse_yaml, read_file, read_json, require_plain
from cold_jax.storage.sealed import read_lines, seal, to_json, unseal
from cold_jax.storage.signatures import sign, signed_here
from cold_jax.storage.tensors import pack_tensors, read_tensors

FORMAT = 3  # of config.yaml and results.json: raised whenever the keys or classes that they name change
CONFIG_LARGEST, RESULTS_LARGEST, METRICS_LARGEST, TENSORS_LARGEST = 256 * KiB, 64 * MiB, 256 * MiB, 64 * GiB  # bytes
SPLIT_LARGEST = 4 * GiB
OVERRIDES, OVERRIDES_LARGEST = "overrides.json", MiB
MOST_FILES = 100_000  # of a folder
_DIGEST, _SIGNATURE = b"# sha256: ", b"# signature: "
SECRET, SECRET_BYTES = "privacy_secret", 32
_TEXT = pa.string()
PER_USER = pa.schema({"part": _TEXT, "method": _TEXT, "user_id": _TEXT, "metric": _TEXT, "value": pa.float64()})
RANKINGS = pa.schema({"part": _TEXT, "user_id": _TEXT, "rank": pa.int32(), "item_id": _TEXT, "score": pa.float32()})


def new_name() -> str:
    """A name for a run's folder that two runs never share, whatever moment they start at."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{secrets.token_hex(4)}"


def create(path: Path) -> "Run":
    """A new run; ExistsError where there is anything at `path`, so that two runs never write into one folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        raise ExistsError(f"{path} is there already: choose another folder, or go on in it with resume={path}") from None
    except OSError as error:
        raise WriteError(f"{path}: cannot be made ({error.strerror}); choose another folder") from None
    return Run(path)


def open_run(path: Path) -> "Run":
    """A run that is there. RunError where it is no folder, or where a link in it leads out of it or a file is no plain one.

    W&B links a log of its own, in the user's cache, from the run's folder; nothing here reads its logs.
    """
    if not path.is_dir():
        raise RunError(f"{path}: there is no such folder; give the folder of a run")
    if not os.path.lexists(path / "config.yaml"):
        raise RunError(f"{path}: no config.yaml in it; give the folder of a run")
    inside, count = path.resolve(), 0
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            count += 1
            entry = Path(folder, name)
            mode = entry.lstat().st_mode
            if stat.S_ISLNK(mode) and not (_leads_into(entry, inside) or _is_wandb_log(entry.relative_to(path))):
                raise RunError(f"{entry}: a link that leads out of the run's folder; put the file itself there, or delete it")
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise RunError(f"{entry}: neither a plain file nor a folder; delete it")
        if count > MOST_FILES:
            raise RunError(f"{path}: more than {MOST_FILES:,} files; give the folder of one run")
    return Run(path)


def _is_wandb_log(entry: Path) -> bool:
    """Of a path in a run's folder: wandb/RUN/logs/FILE."""
    return len(entry.parts) == 4 and (entry.parts[0], entry.parts[2]) == ("wandb", "logs")


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # it leads to itself
        return False


def flat_config(value: Any, path: str = "") -> dict[str, Any]:
    """The values of a config by dotted key."""
    if not isinstance(value, dict):
        return {path: value}
    return {name: leaf for key, inner in value.items() for name, leaf in flat_config(inner, f"{path}.{key}".strip(".")).items()}


@dataclass(frozen=True)
class Run:
    """whole: of a process that takes part in another one's run, that run's folder, which has the checkpoints."""

    path: Path
    whole: Path | None = None

    @property
    def checkpoints(self) -> Path:
        return (self.whole or self.path) / "checkpoints"

    @property
    def finished(self) -> bool:
        return (self.path / "results.json").exists()

    @property
    def pretrained(self) -> bool:
        """Whether it is a pre-training that has ended."""
        return (self.path / "pretraining.json").exists() and (self.path / "encoder").is_dir()

    @property
    def evaluation_of_encoder(self) -> str:
        """Of a pre-training, the command that evaluates its φ as it is, on the data and split that were typed for it. RunError where it is damaged."""
        config = flat_config(self.read_config())
        typed = [word for word in self.read_overrides() if re.match(r"\+?(experiment|data|split|user_attributes)[=./]", word)]
        paths = {key: f"{key}={config[key]}" for key in ("data.root", "split.path") if key in config}  # absolute there
        typed = [paths.get(word.partition("=")[0], word) for word in typed]
        phi = ["adapter=zero_shot", "model=text_vectors", "encoder=hub", f"encoder.id={self.path / 'encoder'}"]
        if "encoder.max_length" in config:
            phi.append(f"encoder.max_length={config['encoder.max_length']}")
        return f"python -m cold_jax.train {shlex.join([*typed, *phi])}"

    @property
    def not_finished(self) -> str:
        """An error message, where a finished run is needed."""
        if self.pretrained:
            return f"{self.path}: a pre-training; its encoder is evaluated by {self.evaluation_of_encoder}"
        return f"{self.path}: not a finished run, which has a results.json; resume={self.path} goes on with it"

    def write_config(self, text: str, replace: bool = False) -> None:
        """Signs the config, YAML whose top level is a mapping, and writes it. ExistsError where the folder has one: another run's.

        replace: the run goes on with another config.
        """
        body = f"format: {FORMAT}\n{text.rstrip()}\n".encode()
        body += _DIGEST + hashlib.sha256(body).hexdigest().encode() + b"\n"
        signature = sign(body)
        try:
            with atomic(self.path / "config.yaml", new=not replace) as file:
                file.write(body + (_SIGNATURE + signature.encode() + b"\n" if signature else b""))
        except FileExistsError:
            raise ExistsError(
                f"{self.path} holds a run already: choose another folder, or go on with resume={self.path}"
            ) from None

    @property
    def made_here(self) -> bool:
        """Whether this user's key signed the config as it stands."""
        try:
            data = read_file(self.path / "config.yaml", CONFIG_LARGEST, RunError)
        except FileNotFoundError:
            return False
        body, _, signature = data.rpartition(_SIGNATURE)
        return signed_here(body, signature.decode("ascii", "replace").strip())

    def read_config(self) -> dict[str, Any]:
        """The config as plain values, without an interpolation in it.

        Raises:
          RunError: there is none, it is damaged, or it is of another format.
        """
        path = self.path / "config.yaml"
        try:
            data = read_file(path, CONFIG_LARGEST, RunError)
        except FileNotFoundError:
            raise RunError(f"{self.path}: no config.yaml in it; give the folder of a run") from None
        body, _, digest = data.rpartition(_DIGEST)
        config = parse_yaml(body or data, str(path), RunError)
        if not isinstance(config, dict):
            raise RunError(f"{path}: is not the config of a run, which has keys")
        _check_format(config.pop("format", None), path)
        _check_texts(config, path)
        if not self.made_here and hashlib.sha256(body).hexdigest().encode() != digest.split(b"\n")[0]:
            raise RunError(
                f"{path}: damaged, or edited (its sha256 is not the one that was written); give settings on the command line instead"
            )
        return config

    def secret(self, new: bool) -> bytes:
        """What the noise and the users of each step are drawn from, with privacy=dp: made by the system, kept for `resume=`.

        new: no step has been taken yet. Raises RunError where one was and the secret is gone: other noise for a step would cost more privacy.
        """
        path = self.path / SECRET
        if new and not path.exists():
            with atomic(path, new=True, mode=0o600) as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
        try:
            found = read_file(path, SECRET_BYTES, RunError)
        except FileNotFoundError:
            raise RunError(f"{path}: is gone, and no step can be taken again with other noise; start the run anew") from None
        if len(found) != SECRET_BYTES:
            raise RunError(f"{path}: damaged ({len(found)} bytes of {SECRET_BYTES}); start the run anew")
        return found

    def forget_secret(self) -> None:
        """After the last step: whoever has it can take the noise off again."""
        (self.path / SECRET).unlink(missing_ok=True)

    def write_split(self, rows: SplitRows, order: np.ndarray) -> None:
        """`order` is each interaction's place among its user's; for people and other tools, ours derive it from the data."""
        text = io.StringIO(newline="")
        # csv's own dialect ends lines in \r\n; with \n alone it would leave an id that holds \r unquoted
        writer = csv.writer(text)
        writer.writerow((*SplitRows._fields, "order"))
        writer.writerows(zip(*rows, order.tolist(), strict=True))
        with atomic(self.path / "split.csv", new=False) as file:
            file.write(text.getvalue().encode())

    def read_split(self) -> SplitRows:
        require_plain(self.path / "split.csv", SPLIT_LARGEST, RunError)
        return read_split_rows(self.path / "split.csv")

    def append_metrics(self, record: Mapping[str, float | str]) -> None:
        """A record has its step, an int, and finite numbers or text; one that finds no room on the disk leaves nothing."""
        path, line = self.path / "metrics.jsonl", seal({"step": record["step"], **record}) + b"\n"
        try:
            with open(path, "ab", buffering=0, opener=append_opener) as file:
                size = file.tell()
                if file.write(line) < len(line):
                    file.truncate(size)
                    raise NoRoom(f"{path}: no room for the line of step {record['step']}; {room(path)}")
        except WriteError:
            raise
        except OSError as error:
            if error.errno in FULL:
                raise NoRoom(f"{path}: no room for the line of step {record['step']}; {room(path)}") from error
            raise WriteError(f"{path}: cannot be written ({error.strerror})") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines; what a killed process left of its last one is no line. RunError where a line is not as it was written."""
        path = self.path / "metrics.jsonl"
        try:
            records = read_lines(read_file(path, METRICS_LARGEST, RunError), str(path), RunError)
        except FileNotFoundError:
            raise RunError(f"{path}: is not there; only a run that began to train has it") from None
        for number, record in enumerate(records, 1):
            if type(record.get("step")) is not int:
                raise RunError(f"{path}:{number}: damaged (it is no record of a step)")
        return records

    def read_validations(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that validated a step, in its order. Raises as `read_metrics`."""
        return [line for line in self.read_metrics() if "best_step" in line]

    def cut_metrics(self, step: int) -> None:
        """Drops the lines after `step`, from which a run resumes, and a last line that is not whole. Without a file an empty one is made."""
        path = self.path / "metrics.jsonl"
        kept = [seal(line) + b"\n" for line in self.read_metrics() if line["step"] <= step] if path.exists() else []
        with atomic(path, new=False) as file:
            file.writelines(kept)

    def write_per_user(self, rows: PerUser) -> None:
        write_table(self.path / "per_user.parquet", PER_USER, rows)

    def read_per_user(self) -> PerUser:
        return PerUser(*read_table(self.path / "per_user.parquet", PER_USER))

    def write_rankings(self, rows: Rankings) -> None:
        write_table(self.path / "rankings.parquet", RANKINGS, rows)

    def read_rankings(self) -> Rankings:
        return Rankings(*read_table(self.path / "rankings.parquet", RANKINGS))

    def write_parameters(self, delta: dict[str, np.ndarray], head: dict[str, np.ndarray]) -> None:
        """Δθ alone, kilobytes for LoRA, and the head: what is trained outside the encoder."""
        for name, tensors in (("delta.safetensors", delta), ("head.safetensors", head)):
            with atomic(self.path / name, new=False) as file:
                file.write(pack_tensors(tensors, {}))

    def read_delta(self) -> dict[str, np.ndarray]:
        """Raises RunError where it is not as it was written, or holds a number that is not finite."""
        return self._read_tensors("delta.safetensors")

    def read_head(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """As `read_delta`; RunError also where its tensors are not those of `shapes`."""
        tensors = self._read_tensors("head.safetensors")
        found = {name: tensor.shape for name, tensor in tensors.items()}
        for name in {**shapes, **found}:
            if found.get(name) != shapes.get(name):
                shape, wanted = found.get(name), shapes.get(name)
                raise RunError(f"{self.path}/head.safetensors: {name} has shape {shape}, and the model {wanted}")
        return tensors

    def _read_tensors(self, name: str) -> dict[str, np.ndarray]:
        path = self.path / name
        try:
            require_plain(path, TENSORS_LARGEST, RunError)
            tensors, _ = read_tensors(path)
        except FileNotFoundError:
            raise RunError(f"{path}: is not there; only a finished run has it") from None
        except RunError:
            raise
        except ValueError as error:
            raise RunError(f"{path}: damaged ({error})") from None
        for key, tensor in tensors.items():
            if not np.isfinite(tensor.astype(np.float32)).all():
                raise RunError(f"{path}: damaged ({key} holds a number that is not finite)")
        return tensors

    def write_results(self, results: Results) -> None:
        """ValueError where a figure of test or baselines is not a finite number."""
        document = {**json.loads(to_json(results, allow_nan=True)), "format": FORMAT}
        check_results(document, "results.json")
        with atomic(self.path / "results.json", new=False) as file:
            file.write(seal(document, indent=2, sort_keys=True) + b"\n")

    def read_results(self) -> Results:
        """Raises RunError where a figure is not as it was written, or the file is of another format."""
        document = self._read_document("results.json", self.not_finished)
        try:
            check_results(document, str(self.path / "results.json"))
        except ValueError as error:
            raise RunError(str(error)) from None
        return document  # type: ignore[return-value]

    def read_overrides(self) -> list[str]:
        """What was typed for it; nothing where the folder does not say. RunError where that is damaged."""
        path, overrides = self.path / OVERRIDES, []
        if path.exists():
            overrides = unseal(read_json(path, OVERRIDES_LARGEST, RunError), str(path), RunError).get("overrides")
        if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
            raise RunError(f"{path}: damaged (it holds no list of overrides); delete it")
        return overrides

    def write_pretraining(self, document: Mapping[str, Any]) -> None:
        with atomic(self.path / "pretraining.json", new=False) as file:
            file.write(seal({**document, "format": FORMAT}, indent=2, sort_keys=True) + b"\n")

    def read_pretraining(self) -> dict[str, Any]:
        """Raises RunError where there is none, or not as it was written."""
        missing = f"{self.path / 'pretraining.json'}: is not there; only a finished pre-training has it"
        return self._read_document("pretraining.json", missing)

    def _read_document(self, name: str, missing: str) -> dict[str, Any]:
        path = self.path / name
        try:
            document = read_json(path, RESULTS_LARGEST, RunError)
        except FileNotFoundError:
            raise RunError(missing) from None
        _check_format(document.get("format") if isinstance(document, dict) else FORMAT, path)
        document = unseal(document, str(path), RunError)
        del document["format"]
        return document

    def remove_temporaries(self) -> None:
        """Removes what killed writers left; only for the holder of the folder's lock."""
        for temporary in self.path.glob(".*.tmp"):
            temporary.unlink(missing_ok=True)


def _check_format(found: object, path: Path) -> None:
    if type(found) is not int or found != FORMAT:
        which = "an older one" if found is None or (isinstance(found, int) and found < FORMAT) else str(found)[:20]
        raise RunError(
            f"{path}: the format of runs has changed: this one has {which}, and format {FORMAT} is read; train it again, or use the "
            "version of cold_jax that wrote it"
        )


def _check_texts(value: Any, path: Path, name: str = "") -> None:
    """RunError for an interpolation, which could read the environment, and for a key that could steer a log or a terminal."""
    if isinstance(value, str) and "${" in value:
        raise RunError(f"{path}: {name} holds an interpolation (${{…}}), which no run has written")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if not isinstance(key, str | int | float) or not str(key).isprintable() or "${" in str(key):
            raise RunError(f"{path}: the key {str(key)[:80]!r} under {name or 'the top'} is not one that a run has written")
        _check_texts(inner, path, f"{name}.{key}".lstrip("."))
