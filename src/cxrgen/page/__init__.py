"""One self-contained HTML page: template and charts as inline SVG."""
