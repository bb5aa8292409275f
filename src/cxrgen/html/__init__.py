"""One HTML page that is complete in itself: no network, charts as inline SVG, everything escaped, no foreign script.

A page is a list of sections, a section a title and parts, a part an `Html` made by the functions of this room. Any
other text given to them is escaped, so a report that holds `<script>` is shown and never run. The trade-off against a
plotting library is a few chart kinds only, in exchange for pages of some hundred kilobytes that open anywhere.
"""

from cxrgen.html.charts import Bar, heat_map, histogram, line_chart, whisker_chart
from cxrgen.html.diff import differing_pieces, differing_words
from cxrgen.html.layout import (
    Html,
    Section,
    data_uri,
    facts,
    for_script,
    html,
    image,
    join,
    note,
    number,
    paragraph,
    picture,
    render,
    side_by_side,
    table,
    tag,
)

__all__ = [
    "Bar",
    "Html",
    "Section",
    "data_uri",
    "differing_pieces",
    "differing_words",
    "facts",
    "for_script",
    "heat_map",
    "histogram",
    "html",
    "image",
    "join",
    "line_chart",
    "note",
    "number",
    "paragraph",
    "picture",
    "render",
    "side_by_side",
    "table",
    "tag",
    "whisker_chart",
]
