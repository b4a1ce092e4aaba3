"""Reports of a decay study: table, figures, page and Markdown."""
