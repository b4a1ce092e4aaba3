"""Reports: terminal tables, pages, Markdown and figures of every result."""
