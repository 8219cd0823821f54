"""Options of exporters."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class TransformersExportOptions(Options):
    """Model and tokenizer in one folder."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    overwrite: bool = Field(False, description="replace the files of an earlier export")


class PeftExportOptions(Options):
    """Adapters and tokenizer in one folder."""

    overwrite: bool = Field(False, description="replace the files of an earlier export")
