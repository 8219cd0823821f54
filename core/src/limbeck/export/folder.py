"""The folder that an export is written to, and the names of its files."""

from pathlib import Path

from limbeck.errors import RunExists

WEIGHTS, PROGRAM, CONFIG, CARD = "student.safetensors", "student.pt2", "config.json", "README.md"


def prepare(directory: Path | str, overwrite: bool = False) -> Path:
    """The folder of an export, made if need be; RunExists when it holds something that was not to be overwritten."""
    directory = Path(directory)
    if directory.is_file():
        raise RunExists(f"{directory} is a file; an export needs a folder. Choose another name.")
    if directory.is_dir() and any(directory.iterdir()) and not overwrite:
        raise RunExists(
            f"{directory} is not empty, and nothing in it was touched. Choose another folder, empty this one, "
            "or replace the files of an earlier export: limbeck export RUN DIR overwrite=true (Python: overwrite=True)."
        )
    directory.mkdir(parents=True, exist_ok=True)
    return directory
