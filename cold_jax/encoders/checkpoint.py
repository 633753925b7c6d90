"""Where a checkpoint's files are: a folder of this machine, or a repository of the Hugging Face hub."""

import contextlib
import json
import logging
import re
from pathlib import Path

from cold_jax.encoders.weights import CONVERT, read_json
from cold_jax.errors import WeightsError

_log = logging.getLogger(__name__)

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_WANTED = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model*.safetensors",
    _INDEX,
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/*.json",
    "[0-9]_*/*.safetensors",
]


def locate(id: str) -> Path:
    """The folder of a checkpoint: a folder of this machine, or a repository of the Hugging Face hub, from its cache or fetched.

    A snapshot in the cache that lacks files is completed, where the hub can be reached.

    Raises:
      WeightsError: it is in none of these places.
    """
    if Path(id).is_dir():
        return Path(id)
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    found, problem = None, "it has not all of the files"
    with contextlib.suppress(LocalEntryNotFoundError, HFValidationError):
        found = Path(snapshot_download(id, allow_patterns=_WANTED, local_files_only=True))
    if found is None or not _usable(found) or not (found / "modules.json").is_file():
        try:
            found = Path(snapshot_download(id, allow_patterns=_WANTED))
        except Exception as error:  # the hub's, the file system's and the network library's have nothing narrower in common
            problem = str(error)
    if found is None or not _usable(found):
        wanted = " ".join(f"--include '{pattern}'" for pattern in _WANTED)
        raise WeightsError(
            f"encoder.id: {id!r} is no folder, is not whole in {constants.HF_HUB_CACHE} and could not be fetched "
            f"({problem}). Where the hub can be reached, run: hf download {id} {wanted}"
        )
    if not (found / "modules.json").is_file() and not _known_to_lack(id, "modules.json"):
        _log.warning(
            "encoder.id: %s has no modules.json in the cache, and the hub cannot be asked for one; if the repository has one, "
            "its pooling and prompts are not known here: give encoder.pooling and encoder.prompts",
            id,
        )
    return found


def _known_to_lack(id: str, name: str) -> bool:
    """Whether the hub, or its cache, says that a repository has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(id, name)
    except LocalEntryNotFoundError:  # out of reach
        return False
    except EntryNotFoundError:
        return True
    except Exception:  # as above
        return False
    return True


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: one, or the shards that its index lists.

    Raises:
      WeightsError: there are none, one is missing, or the index names a file outside the folder.
    """
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    index = folder / _INDEX
    if not index.is_file():
        raise WeightsError(f"{folder}: neither {_WEIGHTS} nor {_INDEX} is there; {CONVERT.format(folder=folder)}")
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(shard, str) for shard in listed.values()):
        raise WeightsError(f"{index}: weight_map is no object of names and files")
    shards = sorted(set(listed.values()))
    if odd := [shard for shard in shards if not re.fullmatch(r"(?!\.)[\w.-]+\.safetensors", shard)]:
        raise WeightsError(f"{index}: weight_map names {json.dumps(odd[0])}; only plain file names in the folder are read")
    if absent := [shard for shard in shards if not (folder / shard).is_file()]:
        raise WeightsError(f"{index}: it lists {', '.join(absent)}, which the folder does not hold")
    return [folder / shard for shard in shards]


def _usable(folder: Path) -> bool:
    try:
        return bool(weight_files(folder)) and all((folder / name).is_file() for name in ("config.json", "tokenizer.json"))
    except WeightsError:
        return False
