"""Where a pipeline is and what it holds, before any weights are loaded; and loading it, with errors in our words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError, PluginLoadError, first_line
from limbeck_diffusion.pipelines.families import Family, check_scheduler, family_of

INDEX = "model_index.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class PipelineSource:
    """A pipeline that was found and understood, nothing loaded yet.

    folder: where its files are, None when it is on the hub; index: its model_index.json.
    """

    model: str
    family: Family
    index: Mapping[str, Any]
    folder: Path | None = None
    revision: str | None = None
    variant: str | None = None

    def from_pretrained(self, **components: Any) -> Any:
        """`DiffusionPipeline.from_pretrained`, with errors in our words. Given components (None: left out) are not
        loaded."""
        where = str(self.folder) if self.folder is not None else self.model
        offline = {"local_files_only": True} if self.folder is not None else {}
        try:
            from diffusers import DiffusionPipeline

            with quiet():
                return DiffusionPipeline.from_pretrained(
                    where, revision=self.revision, variant=self.variant, **offline, **components
                )
        except Exception as error:
            raise LimbeckError(
                f"the pipeline {self.model!r} ({self.family.title}) could not be loaded: "
                f"{first_line(error).rstrip('.')}. {_hint(error, self)}"
            ) from error


def find(
    model: str, *, modality: str | None = None, revision: str | None = None, variant: str | None = None
) -> PipelineSource:
    """Where a pipeline is and of which family, by its model_index.json alone (a few hundred bytes).

    Raises:
        LimbeckError: no such folder or repository, a broken or missing index, an unknown family, a scheduler that the
            family does not allow.
    """
    _require_diffusers()
    given = Path(model).expanduser()
    if given.is_dir():
        folder: Path | None = given
        index = _read_index(given / INDEX, model)
    elif _looks_like_a_path(model):
        raise LimbeckError(
            f"there is no folder {model!r}. Give the folder that pipeline.save_pretrained wrote (it holds {INDEX}), or "
            "a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
        )
    else:
        folder, index = _from_hub(model, revision, variant)
    where = f"{model!r}"
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise LimbeckError(f"{where}: {INDEX} names no pipeline (_class_name). {_SAVE_AGAIN}")
    family = family_of(name, where, modality)
    named = index.get("scheduler")
    if not (isinstance(named, list) and len(named) == 2 and isinstance(named[1], str)):
        raise LimbeckError(f"{where}: {INDEX} names no scheduler. {_SAVE_AGAIN}")
    check_scheduler(family, named[1], where)
    second = index.get("transformer_2")
    if isinstance(second, list) and second[-1] is not None:
        raise LimbeckError(
            f"{where} has two denoisers, one per range of noise levels (transformer, transformer_2); only pipelines "
            "with one can be distilled. Take one such as Wan 2.1"
        )
    if index.get("expand_timesteps"):
        raise LimbeckError(
            f"{where} gives its network one time per token (expand_timesteps), which is not supported. Take a "
            "text-to-video pipeline such as Wan 2.1"
        )
    return PipelineSource(model, family, index, folder, revision, variant)


_SAVE_AGAIN = "Save the pipeline again with save_pretrained"


def _looks_like_a_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or "\\" in model or not HUB_ID.fullmatch(model)


def _read_index(path: Path, model: str) -> dict[str, Any]:
    if not path.is_file():
        inside = [found.parent.name for found in sorted(path.parent.glob(f"*/{INDEX}"))[:3]]
        hint = f"Did you mean its folder {inside[0]!r}? " if inside else ""
        raise LimbeckError(
            f"{model!r} holds no {INDEX}, so it is not a pipeline of diffusers. {hint}Give the folder that "
            "pipeline.save_pretrained wrote; a single checkpoint file is turned into one with from_single_file"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, not an object")
    except (ValueError, OSError) as error:
        raise LimbeckError(f"{model!r}: {INDEX} is broken ({first_line(error)}). {_SAVE_AGAIN}") from error
    return found


def _from_hub(model: str, revision: str | None, variant: str | None) -> tuple[Path | None, dict[str, Any]]:
    """The snapshot that is on this machine if there is one (no network, no waiting), else the index from the hub."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(model, INDEX, revision=revision)
    if isinstance(cached, str):
        index = _read_index(Path(cached), model)
        return (Path(cached).parent if _complete(Path(cached).parent, index) else None), index
    try:
        path = hf_hub_download(model, INDEX, revision=revision, etag_timeout=5)
    except Exception as error:
        raise LimbeckError(
            f"the pipeline {model!r} is not on this machine and could not be had from the hub: "
            f"{first_line(error).rstrip('.')}. {_hint(error)}"
        ) from error
    return None, _read_index(Path(path), model)


def _complete(folder: Path, index: Mapping[str, Any]) -> bool:
    """Whether every component of a cached snapshot is there."""
    parts = [name for name, entry in index.items() if isinstance(entry, list) and entry[-1] is not None]
    return all((folder / name).is_dir() and any((folder / name).iterdir()) for name in parts)


def _hint(error: BaseException, source: PipelineSource | None = None) -> str:
    name, message = type(error).__name__, str(error)
    if source is not None and isinstance(error, ImportError):
        return f'Install what it names; pip install "limbeck-{source.family.modality}[diffusers]" brings the usual ones'
    if "Gated" in name or "401" in message or "403" in message:
        return "It is behind a licence: accept it on its page and log in (hf auth login)"
    if "RepositoryNotFound" in name or "404" in message:
        return "Check the name (OWNER/NAME) and whether you may see it (hf auth login)"
    if "RevisionNotFound" in name:
        return "Check `revision`: a branch, tag or commit of that repository"
    if "variant" in message:
        return (
            "Check `variant` (fp16, bf16): the files must end in .VARIANT.safetensors. Leave it out for the usual ones"
        )
    if source is not None and source.folder is not None:
        return f"{_SAVE_AGAIN}, or download it once more"
    return (
        "Connect to the network once so that it is kept in the cache, or give the folder of a pipeline saved with "
        "save_pretrained"
    )


def _require_diffusers() -> None:
    """Looks for them without importing: a wrong folder is reported at once."""
    missing = [name for name in ("diffusers", "transformers") if find_spec(name) is None]
    if missing:
        raise PluginLoadError(
            f"pipelines need diffusers and transformers; {' and '.join(missing)} cannot be found. Install them with: "
            'pip install "limbeck-diffusion[diffusers]"'
        )


class quiet:
    """Neither bars nor advice from the libraries while they load; other messages of theirs are left alone."""

    def __enter__(self) -> None:
        from diffusers.utils import logging as theirs
        from transformers.utils import logging as others

        self._levels = theirs.get_verbosity(), others.get_verbosity()
        self._bars = theirs.is_progress_bar_enabled(), others.is_progress_bar_enabled()
        theirs.set_verbosity_error()
        others.set_verbosity_error()
        theirs.disable_progress_bar()
        others.disable_progress_bar()

    def __exit__(self, *exception: object) -> None:
        from diffusers.utils import logging as theirs
        from transformers.utils import logging as others

        theirs.set_verbosity(self._levels[0])
        others.set_verbosity(self._levels[1])
        for library, shown in zip((theirs, others), self._bars, strict=True):
            if shown:
                library.enable_progress_bar()
