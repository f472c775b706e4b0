"""The command line's parts; ``encours.py`` puts them together."""
