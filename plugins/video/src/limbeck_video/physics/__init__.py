"""How bodies move: bouncing in closed form, and the paths behind positions that were measured."""
