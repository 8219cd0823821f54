"""Options of the pipeline components. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class DiffusersTeacherOptions(Options):
    """The denoiser of a pipeline of diffusers."""

    model: str = Field(..., min_length=1, description="hub id (OWNER/NAME) or folder written by save_pretrained")
    revision: str | None = Field(None, description="branch, tag or commit of the hub repository")
    variant: str | None = Field(None, description="which files of the weights, such as fp16")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="what weights are loaded as")
    height: int | None = Field(None, ge=8, description="pixels; the family's usual side when absent")
    width: int | None = Field(None, ge=8, description="pixels")
    frames: int | None = Field(None, ge=1, description="of a video; the family's usual number when absent")
    seconds: float | None = Field(None, gt=0, description="length given to a model of sound; the longest when absent")
    negative_prompt: str = Field("", description="stands for 'no prompt' in guidance")
    guidance_embedding: float | None = Field(
        None, ge=0, description="scale given to networks that take one as an input (FLUX dev); 3.5 when absent"
    )
    prompt_length: int | None = Field(None, ge=1, description="tokens a prompt is padded or cut to, where it is free")


class DiffusersStudentOptions(DiffusersTeacherOptions):
    """The denoiser of a pipeline as a student. With `init: teacher` and no options it is a copy of the teacher."""

    model: str = Field("", description="pipeline whose weights it starts from, when it is not a copy of the teacher")
