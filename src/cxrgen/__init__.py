"""cxrgen: fine-tune, run and score models that write chest X-ray reports.

`load` imports torch when it is called and not before: data preparation and scoring run where there is none.
"""

from __future__ import annotations

from cxrgen.core import __version__ as __version__

TYPE_CHECKING = False  # typing's, without its import: an interrupt has little time to meet the start of the program
if TYPE_CHECKING:
    import os
    from typing import Any

    from cxrgen.generate.api import ReportGenerator


def load(model: str | os.PathLike[str], **options: Any) -> ReportGenerator:
    """A checkpoint that writes reports: `load(MODEL).report(["frontal.png"], indication="Cough.")`; needs torch.

    Options are those of `cxrgen.generate.api.load`.
    """
    from cxrgen.generate.api import load as open_generator

    return open_generator(model, **options)
