"""The pictures of the documentation: ``python -m docs.pictures`` makes them on real clusters."""
