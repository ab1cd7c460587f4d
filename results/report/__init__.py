"""`harness report`: runs as one HTML file to read. The command, what it reads, figures, tables, the page."""
