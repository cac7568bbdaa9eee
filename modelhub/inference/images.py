"""Image inputs: base64 data: URIs as PIL images."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from modelhub.inference.data_uris import BadInputs, decode

MAX_PIXELS = 64 * 10**6
_TODO = "Send the image as a base64 data: URI, such as data:image/png;base64,..."


def decode_image(uri: Any) -> Any:
    """The RGB image in a base64 data: URI; raises BadInputs for anything else, and past 64 megapixels."""
    if not isinstance(uri, str) or not uri:
        raise BadInputs("an image is missing.", _TODO)
    try:
        image = Image.open(io.BytesIO(decode(uri)))
        if image.width * image.height > MAX_PIXELS:
            raise BadInputs(f"an image has more than {MAX_PIXELS} pixels.", "Send a smaller image.")
        return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInputs("an image cannot be read.", "Send a PNG, JPEG, WebP or GIF image.") from error
    except BadInputs as error:
        error.todo = error.todo or _TODO
        raise
