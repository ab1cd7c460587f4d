"""`harness report`: runs as one HTML file to read. What it reads, figures, tables, the page."""
