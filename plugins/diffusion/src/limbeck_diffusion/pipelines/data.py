"""Data of pipelines: prompts (`prompts`), and a folder of images as latents (`image_folder`).

Both get from the recipe's teacher what its network reads (`prepare`): embeddings of its text encoders, latents of
its autoencoder. Each is computed once and kept on disk by content (`encoded`).
"""

import json
import warnings
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Space
from limbeck_diffusion.pipelines import prompt_files
from limbeck_diffusion.pipelines.data_options import ImageFolderOptions, PromptsOptions
from limbeck_diffusion.pipelines.encoded import EncodedFiles, digest, identity, on_accelerator
from limbeck_diffusion.pipelines.encoded_prompts import EncodedPrompts
from limbeck_diffusion.pipelines.prompt_files import Bad, Prompt

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def is_held_out(content: str, share: float) -> bool:
    """Whether a row belongs to the held-out split: a function of its content, so that rows keep their side when others
    come or go."""
    return int(digest("held out", content)[:8], 16) < share * 2**32


class _PromptData(Data):
    """Rows with conditions in words."""

    options: Any
    space = Space((0,), domain="unprepared")
    rows: list[Prompt]
    encoded: EncodedPrompts | None = None
    teacher: Any = None

    def __len__(self) -> int:
        return len(self.rows)

    def prepare(self, teacher: Any) -> None:
        """Encode everything for this teacher's network; called when a recipe's data and teacher are built."""
        self.teacher, self.space = teacher, teacher.space
        self.files = EncodedFiles(self.options.cache)
        self.encoded = EncodedPrompts(self.rows, teacher, self.files, unload=self.options.text_encoder == "unload")

    def _prepared(self) -> EncodedPrompts:
        if self.encoded is None:
            raise LimbeckError(
                f"{type(self).__name__} does not know which teacher reads its rows: call data.prepare(teacher). "
                "A recipe does so by itself"
            )
        return self.encoded

    def split(self, name: Literal["train", "held_out"]) -> Self:
        if name == self.options.split:
            return self
        if not self.options.held_out:
            return super().split(name)  # type: ignore[return-value]
        other = type(self)(**{**self.options.model_dump(), "split": name})
        if self.teacher is not None:
            other.prepare(self.teacher)
        return other

    def _chosen(self, content: str) -> bool:
        out = bool(self.options.held_out) and is_held_out(content, self.options.held_out)
        return out == (self.options.split == "held_out")


class Prompts(_PromptData):
    """Prompts without samples, for objectives that need conditions only: dmd2, sds, consistency from teacher
    trajectories (`source: trajectory`)."""

    Options = PromptsOptions

    def __init__(self, **options: Any):
        self.options = PromptsOptions(**options)
        bad: list[prompt_files.Bad] = []
        if self.options.prompts:
            rows = [Prompt(text) for text in self.options.prompts]
        else:
            rows, bad = prompt_files.read(str(self.options.file), skip_bad=self.options.skip_bad)
        if bad:
            warnings.warn(f"{self.options.file}: {prompt_files.listing(bad)}; they are left out", stacklevel=2)
        self.rows = [row for row in rows if self._chosen(f"{row.caption}|{row.label}")]
        if not self.rows:
            raise LimbeckError(
                f"the split {self.options.split} of these {len(rows)} prompts is empty. Change held_out "
                f"({self.options.held_out:g}), or give more prompts"
            )

    def batch(self, indices: Tensor) -> Batch:
        return Batch(cond=self._prepared().conditions(indices.tolist())).to(indices.device)


class ImageFolder(_PromptData):
    """Images as latents of the teacher's autoencoder, with captions, classes or neither.

    Images are turned upright, scaled to cover the teacher's size and cropped at the middle; transparency becomes white.
    """

    Options = ImageFolderOptions

    def __init__(self, **options: Any):
        self.options = ImageFolderOptions(**options)
        self.folder = Path(self.options.folder).expanduser()
        if not self.folder.is_dir():
            raise LimbeckError(f"{self.folder} is no folder: give one that holds images ({', '.join(IMAGES)})")
        paths = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
        if not paths:
            raise LimbeckError(f"{self.folder} holds no images ({', '.join(IMAGES)})")
        self.bad: list[str] = []
        prompts = self._captions(paths)
        chosen = [path for path in paths if self._chosen(str(path.relative_to(self.folder)))]
        if not chosen:
            raise LimbeckError(f"the split {self.options.split} of the {len(paths)} images is empty. Change held_out")
        twice = (False, True) if self.options.flip else (False,)
        self.items = [(path, flipped) for path in chosen for flipped in twice]
        self.rows = [prompts[path] for path, _ in self.items]
        self.keys: list[str] = []

    # --- captions ---

    def _captions(self, paths: list[Path]) -> dict[Path, Prompt]:
        listed = self.folder / "metadata.jsonl"
        if self.options.captions == "none":
            return dict.fromkeys(paths, Prompt())
        if self.options.captions == "folder":
            names = sorted({path.relative_to(self.folder).parts[0] for path in paths if path.parent != self.folder})
            stray = next((path for path in paths if path.parent == self.folder), None)
            if stray is not None:
                raise LimbeckError(f"{stray} lies in no subfolder, and captions: folder takes those as classes")
            return {p: Prompt(label=names.index(p.relative_to(self.folder).parts[0])) for p in paths}
        if listed.is_file():
            return self._listed(paths, listed)
        found = {}
        for path in paths:
            beside = path.with_suffix(".txt")
            text = beside.read_text(encoding="utf-8").strip() if beside.is_file() else ""
            found[path] = Prompt(caption=text or None)
        return found

    def _listed(self, paths: list[Path], listed: Path) -> dict[Path, Prompt]:
        """metadata.jsonl as of an image folder of the `datasets` library: {"file_name": ..., "text": ...} a line."""
        found: dict[Path, Prompt] = dict.fromkeys(paths, Prompt())
        bad: list[Bad] = []
        for line, text in prompt_files.lines(listed):
            try:
                row = json.loads(text)
                path = self.folder / row["file_name"]
            except (ValueError, TypeError, KeyError) as error:
                bad.append(Bad(line, f"no file_name ({error})"))
                continue
            parsed = prompt_files.prompt(line, row)
            if isinstance(parsed, Bad):
                bad.append(parsed)
            elif path not in found:
                bad.append(Bad(line, f"no image {row['file_name']}"))
            else:
                found[path] = parsed
        if bad:
            message = f"{listed}: {prompt_files.listing(bad)}"
            if not self.options.skip_bad:
                raise LimbeckError(f"{message}. Correct them, or leave them out with skip_bad: true")
            warnings.warn(f"{message}; their images have no caption", stacklevel=4)
        return found

    # --- latents ---

    def prepare(self, teacher: Any) -> None:
        codec, size = teacher.space.codec, teacher.source.get("size")
        height, width = getattr(size, "height", None), getattr(size, "width", None)
        if height is None or width is None or len(teacher.space.event) != 3:
            raise LimbeckError(
                f"image_folder is for teachers of images; {type(teacher).__name__} makes {teacher.space.event}"
            )
        vae = getattr(codec, "vae", codec)
        settings = ["latents", identity(vae), str(next(vae.parameters()).dtype), height, width]
        contents = {path: digest(path.read_bytes()) for path, _ in self.items}
        keys = [digest(settings, contents[path], flipped) for path, flipped in self.items]
        files, errors, small = EncodedFiles(self.options.cache), {}, []

        def encode(some: list[int]) -> list[dict[str, Tensor] | None]:
            found: list[dict[str, Tensor] | None] = []
            for i in some:
                path, flipped = self.items[i]
                try:
                    pixels, enlarged = _pixels(path, height, width)
                except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises on broken files
                    errors[keys[i]] = error
                    found.append(None)
                    continue
                if enlarged:
                    small.append(path)
                found.append({"latents": _encoded(codec, pixels, flipped)})
            return found

        if any(files.read(key) is None for key in keys):
            with on_accelerator(codec):
                files.ensure(keys, encode, title="latents")
        self._leave_out([(path, errors[key]) for (path, _), key in zip(self.items, keys, strict=True) if key in errors])
        good = [i for i, key in enumerate(keys) if key not in errors]
        self.items = [self.items[i] for i in good]
        self.rows, self.keys = [self.rows[i] for i in good], [keys[i] for i in good]
        if small:
            first = small[0].relative_to(self.folder)
            warnings.warn(
                f"{len(small)} images are smaller than {width}x{height}, first {first}: enlarged", stacklevel=2
            )
        super().prepare(teacher)
        self.files = files

    def _leave_out(self, bad: list[tuple[Path, Exception]]) -> None:
        if not bad:
            return
        path, error = bad[0]
        message = (
            f"{self.folder}: {len(bad)} of {len(self.items)} images cannot be read, first {path.name} "
            f"({str(error).splitlines()[0]})"
        )
        if not self.options.skip_bad or len(bad) == len(self.items):
            raise LimbeckError(f"{message}. Remove them or save them again")
        warnings.warn(f"{message}; they are left out", stacklevel=3)

    def batch(self, indices: Tensor) -> Batch:
        encoded, rows = self._prepared(), indices.tolist()
        latents = [self._latents(row) for row in rows]
        described = any(row.caption is not None or row.label is not None for row in self.rows)
        cond = encoded.conditions(rows) if described else None
        return Batch(x0=torch.stack(latents), cond=cond).to(indices.device)

    def _latents(self, row: int) -> Tensor:
        entry = self.files.read(self.keys[row])
        if entry is None:
            path, flipped = self.items[row]
            size = self.teacher.source["size"]
            pixels, _ = _pixels(path, size.height, size.width)
            entry = self.files.write(self.keys[row], {"latents": _encoded(self.teacher.space.codec, pixels, flipped)})
        return entry["latents"]


def _pixels(path: Path, height: int, width: int) -> tuple[Tensor, bool]:
    """(3, height, width) in [-1, 1], and whether it had to be enlarged. OSError or ValueError for a broken image."""
    import numpy
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    enlarged = image.width < width or image.height < height
    fitted = ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)
    return torch.from_numpy(numpy.array(fitted)).permute(2, 0, 1).float() / 127.5 - 1, enlarged


@torch.no_grad()
def _encoded(codec: Any, pixels: Tensor, flipped: bool) -> Tensor:
    """Latents of one image on the CPU, float32."""
    like = next(codec.parameters())
    x = pixels.flip(-1) if flipped else pixels
    return codec.encode(x.unsqueeze(0).to(like.device))[0].float().cpu()


__all__ = ["ImageFolder", "Prompts", "is_held_out"]
