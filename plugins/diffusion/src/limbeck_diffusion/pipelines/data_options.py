"""Options of the data and exporters beside pipelines. Pydantic only, no torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options


class _CacheOptions(Options):
    cache: str | None = Field(
        None, description="folder of what encoders made; None: $LIMBECK_CACHE/encoded, or limbeck/encoded in ~/.cache"
    )
    held_out: float = Field(
        0.0, ge=0, lt=1, description="share of the rows kept for the split held_out, chosen by their content"
    )
    split: Literal["train", "held_out"] = Field("train", description="which rows")


class PromptsOptions(_CacheOptions):
    """Prompts of a file, read by the teacher's text encoders."""

    file: str | None = Field(None, description="prompts as .txt, .jsonl, .json, .csv or .parquet")
    prompts: tuple[str, ...] = Field((), description="prompts written here, instead of a file")
    skip_bad: bool = Field(False, description="leave out rows that cannot be used, with a message, instead of stopping")
    text_encoder: Literal["keep", "unload"] = Field(
        "keep", description="unload: free the text encoders once every prompt is encoded"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.file) == bool(self.prompts):
            given = "both" if self.file else "neither"
            raise ValueError(f"give file or prompts, one of them; got {given}")
        return self


class ImageFolderOptions(_CacheOptions):
    """Images of a folder as the teacher's latents, with their captions or classes."""

    folder: str = Field(description="folder of images; captions in metadata.jsonl, or beside each image in a .txt")
    captions: Literal["auto", "none", "folder"] = Field(
        "auto", description="auto: metadata.jsonl, else .txt files, else none; folder: subfolders are classes"
    )
    skip_bad: bool = Field(
        True, description="leave out images that cannot be read, with a message, instead of stopping"
    )
    flip: bool = Field(False, description="every image a second time, mirrored")
    text_encoder: Literal["keep", "unload"] = Field(
        "keep", description="unload: free the text encoders once every caption is encoded"
    )


class PipelineExportOptions(Options):
    """A full pipeline folder."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of all weights written")
    overwrite: bool = Field(False, description="replace files of an earlier export")


class LoRAExportOptions(Options):
    """Adapters alone."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights written")
    overwrite: bool = Field(False, description="replace files of an earlier export")
