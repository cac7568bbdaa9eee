"""Image inputs: base64 data: URIs as PIL images."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from modelhub.inference.data_uris import BadInputs, decode
from modelhub.inference.quota import Quota

# Each format is code that parses bytes from outside. Of the others, EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_TODO = "Send the image as a base64 data: URI, such as data:image/png;base64,..."


def decode_image(uri: Any, quota: Quota) -> Any:
    """The RGB image in a base64 data: URI; raises BadInputs for anything else, and past the quota.

    Of an animation, the first image.
    """
    if not isinstance(uri, str) or not uri:
        raise BadInputs("an image is missing.", _TODO)
    try:
        with Image.open(io.BytesIO(decode(uri)), formats=FORMATS) as image:
            quota.take_pixels(image.width, image.height)
            return image.convert("RGB")
    except BadInputs as error:
        error.todo = error.todo or _TODO
        raise
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise quota.too_many_pixels() from None
    except Exception as error:  # bytes from outside make decoders raise about anything
        raise BadInputs("an image cannot be read.", "Send a PNG, JPEG, WebP or GIF image.") from error
