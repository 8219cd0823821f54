"""`energy_distance`, the teacher `acme/ring` and the generator `acme/planar`, on the public API of Limbeck."""

__version__ = "2.0.1"
