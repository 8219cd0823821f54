"""Objectives: thin assemblies of the formulas, a folder per family."""
