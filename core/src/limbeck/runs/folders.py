"""Folders of runs: what one holds, and where a run goes when no folder is named. Imports no torch."""

from pathlib import Path

from limbeck.errors import RunExists
from limbeck.recipe import Recipe


def default_folder(recipe: Recipe) -> Path:
    return Path("runs") / recipe.name


def has_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def is_run(folder: Path) -> bool:
    """Whether the folder was made by a run, of which there may be little yet."""
    return (folder / "run.json").is_file() or has_recipe(folder)


def has_recipe(folder: Path) -> bool:
    """Whether the folder holds a run that can be opened."""
    return (folder / "recipe.yaml").is_file()


def refuse_existing(folder: Path, resume: bool, overwrite: bool) -> None:
    """Never guess what to do with a folder that already holds something. Raises RunExists."""
    if not folder.exists() or (resume and (not has_content(folder) or is_run(folder))):
        return
    if not folder.is_dir():
        raise RunExists(f"{folder} is a file; a run needs a folder. Choose another with --out DIR.")
    if not has_content(folder) or (overwrite and is_run(folder)):
        return
    if not is_run(folder):
        raise RunExists(f"{folder} holds files that are not a run; nothing was touched. Choose another with --out DIR.")
    raise RunExists(
        f"{folder} already holds a run. Go on with it: --resume (from Python: resume=True); delete it and start again: "
        "--overwrite; keep it and use another folder: --out DIR."
    )
