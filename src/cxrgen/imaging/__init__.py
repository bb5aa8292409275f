"""An image file to 8-bit grey pixels or a reject code; its view position; the order of views."""

from cxrgen.imaging.read import GreyImage as GreyImage
from cxrgen.imaging.read import read_image as read_image

read_film = read_image  # its name in version 0.1
