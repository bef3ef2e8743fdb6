"""Views: several engines, used as one object."""
