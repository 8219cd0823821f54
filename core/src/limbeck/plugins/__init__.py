"""Plugins: what is installed, what it brings, and the hooks that it may implement."""
