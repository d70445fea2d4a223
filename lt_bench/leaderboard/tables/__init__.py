"""Tables as Markdown, CSV, LaTeX and for the terminal."""
