"""Sound as numbers: mel front end, clips, files."""
