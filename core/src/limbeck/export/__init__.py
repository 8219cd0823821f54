"""Students as ordinary artefacts, and networks as teacher files.

An exporter is `exporter(run, directory, **options) -> list of files`; each has a file here. They refuse a folder that
holds something, unless `overwrite=True`.
"""
