"""Recipes: everything a run needs, as plain data that is checked before anything heavy loads."""

from limbeck.recipe.recipe import Recipe, check, load, variant

__all__ = ["Recipe", "check", "load", "variant"]
