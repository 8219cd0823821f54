"""What a prompt describes: a shape and its colour, and what it stands on. No torch here."""

from dataclasses import dataclass

from limbeck_3d.prompts.words import COLOURS, MESHES, SHAPES, words_of

BASES = ("box", "cylinder")  # what something can stand on
TOPS = ("sphere", "box", "cylinder", "cone", "torus", "capsule", "cross", "pyramid")
FRONTS = ("chair", "airplane", "ant")  # shapes whose back does not look like their front


@dataclass(frozen=True)
class Solid:
    """One thing of a scene: a shape and its colour, and what it stands on."""

    shape: str
    colour: str
    base: "Solid | None" = None

    def caption(self) -> str:
        article = "an" if self.colour[0] in "aeiou" else "a"
        caption = f"{article} {self.colour} {self.shape}"
        return caption if self.base is None else f"{caption} on {self.base.caption()}"


def parse(prompt: str) -> Solid | None:
    """The scene of a prompt, or None when its words are known but do not make one ("red on box")."""
    match words_of(prompt)[0]:
        case [colour, shape] if colour in COLOURS and shape in (*SHAPES, *MESHES):
            return Solid(shape, colour)
        case [colour, shape, "on", below, base] if (
            colour in COLOURS and shape in TOPS and below in COLOURS and base in BASES
        ):
            return Solid(shape, colour, Solid(base, below))
    return None


__all__ = ["BASES", "FRONTS", "TOPS", "Solid", "parse"]
