"""An image file to 8-bit grey pixels or a reject code; its view position; the order of views."""
