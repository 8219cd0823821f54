"""Options of data from files. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class FolderOptions(Options):
    """A folder of files; a subclass adds what its decoder needs."""

    path: str = Field(min_length=1, description="folder with the files, searched to its depths")
    split: Literal["train", "held_out"] = Field("train", description="a tenth of the files of every class is held out")
    labels: Literal["folders", "none"] = Field("folders", description="folders: the first folder below path is a class")
    bad_files: Literal["skip", "error"] = Field("skip", description="what a file that cannot be used does")
