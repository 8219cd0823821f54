"""Tiny pipelines of diffusers, saved once a session."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """`tiny_folder(family, **options)`: where that tiny pipeline was saved. Not to be changed: copy it first."""
    import tiny_pipelines

    made: dict[str, str] = {}

    def find(name: str, **options: Any) -> str:
        key = f"{name}-{sorted(options.items())}"
        if key not in made:
            made[key] = tiny_pipelines.saved(name, tmp_path_factory.mktemp(name), **options)
        return made[key]

    return find
