"""The report page: what a comparison answers, as one file that opens anywhere, and as Markdown."""
