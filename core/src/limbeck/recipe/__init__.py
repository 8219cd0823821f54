"""Recipes: everything a run needs, read, merged, overridden and checked before torch is imported."""

from limbeck.recipe.checking import check
from limbeck.recipe.loading import load, variant
from limbeck.recipe.recipe import Recipe

__all__ = ["Recipe", "check", "load", "variant"]
