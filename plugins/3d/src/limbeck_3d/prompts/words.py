"""The words of prompts. No torch here: a prompt is checked before anything heavy loads."""

import difflib

COLOURS = {
    "red": (0.85, 0.12, 0.12), "green": (0.13, 0.62, 0.2), "blue": (0.15, 0.28, 0.85), "yellow": (0.95, 0.85, 0.12),
    "purple": (0.55, 0.15, 0.7), "orange": (0.95, 0.48, 0.08), "cyan": (0.1, 0.75, 0.85), "grey": (0.55, 0.55, 0.55),
}  # fmt: skip
SHAPES = ("sphere", "box", "cylinder", "cone", "torus", "capsule", "cross", "pyramid", "chair")
MESHES = ("airplane", "ant", "nut")  # brought by pyvista
VIEWS = ("front", "side", "back", "overhead")
ARTICLES = ("a", "an", "the")
WORDS = ("", *VIEWS, *COLOURS, *SHAPES, *MESHES, "on")  # the token of a word is its place
LENGTH = 6  # view, colour, shape, on, colour, shape


def words_of(prompt: str) -> tuple[list[str], str]:
    """The words of a prompt without articles, and the view that it names itself ("" if none).

    Raises ValueError for an empty prompt, unknown words and prompts that are too long.
    """
    words = [word for word in prompt.lower().replace(",", " ").replace(".", " ").split() if word not in ARTICLES]
    view = ""
    if words[-1:] == ["view"]:
        view = words[-2] if len(words) > 1 else ""
        if view not in VIEWS:
            raise ValueError(
                f"the prompt '{prompt}' names the view '{view}'; known views: {', '.join(f'{v} view' for v in VIEWS)}. "
                "Without one, every camera adds its own"
            )
        words = words[:-2]
    if not words:
        raise ValueError(f"the prompt '{prompt}' is empty: name what to make, for example 'a red torus on a blue box'")
    known = [word for word in WORDS[1:] if word not in VIEWS]
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
            hint = f"Nearest: {', '.join(near)}. " if near else ""
            raise ValueError(f"the prompt '{prompt}' has the unknown word '{word}'. {hint}Known: {', '.join(known)}")
    if len(words) > LENGTH - 1:
        raise ValueError(
            f"the prompt '{prompt}' has {len(words)} words without articles; the teacher takes {LENGTH - 1}, "
            "as in 'a red torus on a blue box'"
        )
    return words, view


__all__ = ["COLOURS", "LENGTH", "MESHES", "SHAPES", "VIEWS", "WORDS", "words_of"]
