"""Views: engines, addressed as one."""
