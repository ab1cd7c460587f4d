"""From runs to tables and comparisons."""
