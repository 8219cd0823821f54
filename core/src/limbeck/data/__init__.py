"""Real examples that people bring: folders of files."""
